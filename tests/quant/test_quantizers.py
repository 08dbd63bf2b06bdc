import math

import pytest
import torch

from quant.qparams import choose_qparams, fake_quantize
from quant.quantizers import LogSqrt2, fit_log_sqrt2, fit_per_channel, fit_uniform


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_log_sqrt2_is_the_formula_number_by_number(bits):
    x = torch.tensor([0.0, 1e-30, 1e-6, 0.01, 0.2, 0.49, 0.5, 0.7, 0.8, 1.2]).double()
    expected = []
    for value in x.tolist():
        q = max(round(-2 * math.log2(value / 0.8)), 0) if value else math.inf
        expected.append(0.8 * 2 ** (-q / 2) if q < 2**bits else 0.0)
    found = LogSqrt2(0.8, bits)(x)
    torch.testing.assert_close(found, torch.tensor(expected).double())


def test_log_sqrt2_keeps_float32_attention_of_every_size():
    attention = torch.randn(2, 3, 50, 50).mul(4).softmax(-1)
    found = fit_log_sqrt2(attention, 8)(attention)
    ratio = (found / attention).log2().abs()
    assert ratio.max() <= 0.2501  # half a step of sqrt 2
    assert torch.isfinite(found).all()


def test_an_outlier_beyond_the_percentile_is_cut_when_that_pays():
    sample = torch.cat([torch.linspace(-1, 1, 20_000), torch.tensor([40.0])])
    found = fit_uniform(sample, 4)
    whole = fake_quantize(sample, choose_qparams(sample.min(), sample.max(), 4))
    error = (found(sample) - sample).square().sum()
    assert error < (whole - sample).square().sum()
    assert float(found(torch.tensor([40.0]))) < 2


def test_two_extreme_values_of_a_small_sample_are_kept():
    sample = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(fit_uniform(sample, 8)(sample), sample, rtol=0, atol=0.01)


def test_channels_are_fitted_one_by_one():
    generator = torch.Generator().manual_seed(2)
    sample = torch.randn(3000, 4, generator=generator) ** 3 * torch.tensor([1.0, 20.0, 0.3, 5.0])
    together = fit_per_channel(sample, 4)
    for c in range(4):
        alone = fit_uniform(sample[:, c], 4).qparams
        torch.testing.assert_close(together.scale[c], alone.scale)
        torch.testing.assert_close(together.zero_point[c], alone.zero_point)
