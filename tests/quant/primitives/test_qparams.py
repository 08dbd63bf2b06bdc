import pytest
import torch

from quant.primitives.qparams import QParams, choose_qparams, dequantize, fake_quantize, quantize


def scalar_fake_quantize(x: float, scale: float, zero_point: float, bits: int) -> float:
    q = min(max(round(x / scale) + zero_point, 0), 2**bits - 1)
    return (q - zero_point) * scale


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_fake_quantize_is_the_formula_number_by_number(bits):
    x = torch.linspace(-1.3, 2.1, 57, dtype=torch.float64)
    q = choose_qparams(torch.tensor(-1.0).double(), torch.tensor(1.7).double(), bits)
    expected = [
        scalar_fake_quantize(v, float(q.scale), float(q.zero_point), bits) for v in x.tolist()
    ]
    torch.testing.assert_close(fake_quantize(x, q), torch.tensor(expected).double())


def test_it_agrees_with_torchs_own_where_torch_has_one():
    x = torch.randn(200, generator=torch.Generator().manual_seed(1))
    q = choose_qparams(x.min(), x.max(), 8)
    expected = torch.fake_quantize_per_tensor_affine(x, float(q.scale), int(q.zero_point), 0, 255)
    torch.testing.assert_close(fake_quantize(x, q), expected, rtol=1e-5, atol=1e-6)


def test_error_inside_the_range_is_at_most_half_a_step():
    x = torch.linspace(-1, 3, 1001)
    q = choose_qparams(x.min(), x.max(), 4)
    # the zero point is rounded, which may push one end of the range half a step out
    assert (fake_quantize(x, q) - x).abs().max() <= float(q.scale) * 1.001
    assert len(quantize(x, q).unique()) == 16


def test_per_channel_is_each_channel_alone():
    x = torch.randn(50, 3) * torch.tensor([1.0, 10.0, 0.1])
    q = choose_qparams(x.amin(0), x.amax(0), 5)
    for c in range(3):
        alone = QParams(q.scale[c], q.zero_point[c], 5)
        torch.testing.assert_close(fake_quantize(x, q)[:, c], fake_quantize(x[:, c], alone))
    assert torch.equal(dequantize(quantize(x, q), q), fake_quantize(x, q))


@pytest.mark.parametrize("value", [0.0, 3.5, -2.25, 1e-30, 1e20])
def test_a_constant_is_kept(value):
    x = torch.full((10,), value)
    kept = fake_quantize(x, choose_qparams(x.min(), x.max(), 2))
    torch.testing.assert_close(kept, x, rtol=1e-5, atol=1e-29)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_range_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        choose_qparams(torch.tensor(0.0), torch.tensor(bad), 4)


@pytest.mark.parametrize("bits", [1, 9, 4.0, True, "4"])
def test_widths_we_have_not_are_refused(bits):
    with pytest.raises(ValueError, match="use a whole number from 2 to 8"):
        choose_qparams(torch.tensor(0.0), torch.tensor(1.0), bits)
