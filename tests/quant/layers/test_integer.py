"""Integer layers against 64-bit integer sums, and against the float64 simulation."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.layers.integer import Encoder, IntegerLinear, reason
from quant.layers.quantized import QuantizedLinear, Rounded
from quant.layers.runtime import RunningLinear, encoder_of
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Codebook, Scaled, Uniform, codebook

NO_INTEGERS, NO_VNNI = reason(weight=64), reason()
needs_integers = pytest.mark.skipif(NO_INTEGERS is not None, reason=str(NO_INTEGERS))
needs_vnni = pytest.mark.skipif(NO_VNNI is not None, reason=str(NO_VNNI))
WIDTHS = range(2, 9)
LEVELS = torch.tensor([0, 1, 3, 6, 10, 16, 24, 36, 52, 70, 92, 118, 148, 180, 216, 255])


TABLE = codebook(LEVELS.float(), 0.02, 17, 4).table.to(torch.uint8)


def weights(rows: int, columns: int, bits: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (K, C), scales (K,) and biases (K,)."""
    generator = torch.Generator().manual_seed(seed)
    top = 2 ** (bits - 1)
    codes = torch.randint(-top, top, (rows, columns), generator=generator).to(torch.int8)
    scales = torch.rand(rows, generator=generator) / top + 0.01
    return codes, scales, torch.randn(rows, generator=generator)


def expected(codes: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, encoder: Encoder):
    """The layer's output from 64-bit integer sums, scaled in float64."""
    sums = torch.einsum("...c,kc->...k", codes.long() - encoder.zero_point, weight.long())
    return sums.double() * scale.double() * encoder.scale + bias.double()


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("zero_point", [0, 3, -40, 700])
def test_codes_are_the_nearest_points_of_the_grid(bits: int, zero_point: int) -> None:
    encoder = Encoder(0.37, zero_point, bits)
    grid = (torch.arange(2**bits, dtype=torch.float64) - zero_point) * 0.37
    x = torch.linspace(float(grid[0]) - 5, float(grid[-1]) + 5, 1001)
    codes = encoder(x)
    nearest = (x.double()[:, None] - grid).abs()
    chosen = nearest.gather(1, codes.long()[:, None])[:, 0]
    assert codes.dtype == torch.uint8
    assert (chosen - nearest.amin(1)).max() < 1e-4
    assert torch.allclose(encoder.centred(x).double() * 0.37, grid[codes.long()], atol=1e-4)


def test_a_codebook_takes_the_nearest_of_its_levels() -> None:
    encoder = encoder_of(codebook(LEVELS.float(), 0.02, 17, 4))
    assert encoder is not None
    values = (LEVELS.double() - 17) * 0.02
    x = torch.linspace(-1, 6, 3000)
    codes = encoder(x.view(3, -1)).flatten()
    assert set(codes.tolist()) == set(LEVELS.tolist())
    off = (x.double() - (codes.double() - 17) * 0.02).abs()
    # The point of the grid is at most half its step away from x.
    assert (off - (x.double()[:, None] - values).abs().amin(1)).max() < 0.02 + 1e-4
    assert torch.allclose(encoder.centred(x), codes.float() - 17)


@needs_integers
@pytest.mark.parametrize("weight_bits", WIDTHS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_all_widths_equal_integer_sums_and_the_simulation(weight_bits: int, bits: int) -> None:
    if (why := reason(code=2**bits - 1, weight=2 ** (weight_bits - 1))) is not None:
        pytest.skip(why)
    codes, scale, bias = weights(13, 37, weight_bits)
    encoder = Encoder(4 / 2**bits, 2 ** (bits - 1) - 1, bits)
    layer = IntegerLinear(codes, scale, bias, encoder)
    x = torch.randn(2, 5, 37, generator=torch.Generator().manual_seed(1))
    y = layer(x)
    wanted = expected(encoder(x), codes, scale, bias, encoder)
    assert y.dtype == torch.float32
    assert torch.allclose(y.double(), wanted, rtol=1e-5, atol=1e-5)
    weight = scale[:, None].double() * codes
    simulated = F.linear(encoder.centred(x).double() * encoder.scale, weight, bias.double())
    assert torch.allclose(y.double(), simulated, rtol=1e-5, atol=1e-5)


@needs_integers
@pytest.mark.parametrize("table", [None, TABLE])
def test_the_simulation_is_the_same_to_the_last_bit(table: Tensor | None) -> None:
    codes, scale, bias = weights(192, 768, 7)
    encoder = Encoder(0.031, 97, 8, table)
    x = torch.randn(50, 768, generator=torch.Generator().manual_seed(6))
    sums = F.linear(encoder.centred(x), codes.float())
    assert sums.abs().max() < 2**24
    simulated = sums * (scale * encoder.scale) + bias
    assert torch.equal(IntegerLinear(codes, scale, bias, encoder)(x), simulated)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("table", [None, TABLE])
def test_scaled_rows_are_encoded_by_their_size_and_so_are_their_sums(
    table: Tensor | None, integers: bool
) -> None:
    codes, scale, bias = weights(19, 48, 4)
    grid = QParams(torch.tensor(0.25), torch.tensor(8.0), 4)
    levels = Uniform(grid) if table is None else Codebook(table.float(), 0.02, 17, 4)
    layer = QuantizedLinear(Scaled(levels), Rounded(codes, scale, bias))
    x = torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(6))
    x *= torch.logspace(-3, 3, 7)[:, None]
    x[1, 2] = 0
    found = RunningLinear(layer, integers)
    assert integers == (found.reason is None) or NO_INTEGERS is not None
    sizes = x.double().square().mean(-1, keepdim=True).sqrt()
    encoded = levels((x.double() / sizes.clamp_min(1e-30)).float()).double() * sizes
    wanted = torch.einsum("bnc,kc->bnk", encoded, scale[:, None].double() * codes) + bias
    torch.testing.assert_close(found(x).double(), wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(found(x)[1, 2], bias)
    assert torch.equal(found(x), RunningLinear(layer, not integers)(x))


@needs_vnni
@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("zero_point", [0, 128, 255, -300, 700])
def test_the_largest_products_are_exact(value: int, zero_point: int) -> None:
    codes = torch.full((3, 3072), value, dtype=torch.int8)
    layer = IntegerLinear(codes, torch.ones(3), None, Encoder(1.0, zero_point, 8))
    y = layer.multiply(torch.full((2, 3072), 255, dtype=torch.uint8))
    assert torch.equal(y, torch.full((2, 3), float((255 - zero_point) * value * 3072)))


@needs_integers
def test_a_codebook_multiplies_its_levels() -> None:
    codes, scale, bias = weights(9, 21, 4)
    encoder = Encoder(0.02, 17, 8, TABLE)
    x = torch.randn(4, 21, generator=torch.Generator().manual_seed(2))
    y = IntegerLinear(codes, scale, bias, encoder)(x)
    wanted = expected(encoder(x), codes, scale, bias, encoder)
    assert torch.allclose(y.double(), wanted, rtol=1e-5, atol=1e-5)


@needs_integers
@pytest.mark.parametrize("shape", [(7,), (1, 7), (0, 7), (2, 0, 7), (2, 3, 5, 7), (197, 7)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    codes, scale, bias = weights(5, 7, 7)
    encoder = Encoder(0.05, 100, 8)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    y = IntegerLinear(codes, scale, bias, encoder)(x)
    assert y.shape == (*shape[:-1], 5)
    wanted = expected(encoder(x), codes, scale, bias, encoder)
    assert torch.allclose(y.double(), wanted, rtol=1e-5, atol=1e-5)


@needs_integers
@pytest.mark.parametrize("encoder", [Encoder(0.2, 8, 4), Encoder(0.02, 100, 8, TABLE)])
def test_an_input_that_does_not_lie_in_one_piece(encoder: Encoder) -> None:
    codes, scale, bias = weights(6, 10, 5)
    layer = IntegerLinear(codes, scale, bias, encoder)
    x = torch.randn(4, 10, 3, generator=torch.Generator().manual_seed(4)).transpose(1, 2)
    assert torch.equal(layer(x), layer(x.contiguous()))


@needs_vnni
@pytest.mark.parametrize("bias", [None, torch.tensor([1.0, -2.0])])
def test_a_range_far_from_zero_does_not_overflow(bias: Tensor | None) -> None:
    codes = torch.tensor([[127] * 300, [-128] * 300], dtype=torch.int8)
    encoder = Encoder(1e-4, -(10**6), 8)
    x = torch.linspace(99.99, 100.03, 300)
    y = IntegerLinear(codes, torch.tensor([0.01, 0.02]), bias, encoder)(x)
    zeros = torch.zeros(2) if bias is None else bias
    wanted = expected(encoder(x), codes, torch.tensor([0.01, 0.02]), zeros, encoder)
    assert torch.allclose(y.double(), wanted, rtol=1e-6)


@needs_integers
def test_threads_share_a_layer() -> None:
    codes, scale, bias = weights(64, 96, 7)
    encoder = Encoder(0.03, 120, 8)
    layer = IntegerLinear(codes, scale, bias, encoder)

    def off(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        worst = 0.0
        for rows in range(1, 40):
            x = torch.randn(rows, 96, generator=generator)
            wanted = expected(encoder(x), codes, scale, bias, encoder)
            worst = max(worst, float((layer(x) - wanted).abs().max()))
        return worst

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(off, range(16))) < 1e-4


def test_there_is_a_reason_where_integers_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CPU" in str(reason("cuda:0"))
    assert "CPU" in str(reason("mps"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert "VNNI" in str(reason())
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    monkeypatch.setattr(torch.ops, "onednn", object())
    assert "no integer linear layer" in str(reason())


OLDER_CPU = """
import torch
from quant.layers.integer import Encoder, IntegerLinear, reason
print(reason() is None, reason(code=15) is None, reason(weight=64) is None)
layer = IntegerLinear(
    torch.full((3, 3072), -128, dtype=torch.int8), torch.ones(3), None, Encoder(1.0, 5, 7)
)
print(bool((layer.multiply(torch.full((2, 3072), 127, dtype=torch.uint8)) == -47972352.0).all()))
"""


@needs_integers
def test_a_cpu_without_vnni_runs_what_fits_its_sums() -> None:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    told = subprocess.run(
        [sys.executable, "-c", OLDER_CPU], env=environment, capture_output=True, check=True
    )
    assert told.stdout.split() == [b"False", b"True", b"True", b"True"]


def test_what_cannot_be_right_is_refused() -> None:
    with pytest.raises(ValueError, match="9 bits"):
        Encoder(1.0, 0, 9)
    with pytest.raises(ValueError, match="positive"):
        Encoder(0.0, 0, 4)
    with pytest.raises(ValueError, match="positive"):
        Encoder(float("nan"), 0, 4)
    with pytest.raises(ValueError, match="8 bits"):
        Encoder(1.0, 0, 4, TABLE)
    with pytest.raises(ValueError, match="int8"):
        IntegerLinear(torch.zeros(2, 3), torch.ones(2), None, Encoder(1.0, 0, 8))
    with pytest.raises(ValueError, match="one a row"):
        IntegerLinear(torch.zeros(2, 3, dtype=torch.int8), torch.ones(3), None, Encoder(1.0, 0, 8))
