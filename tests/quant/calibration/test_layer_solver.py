"""One layer solved: its losses re-derived in full, and each choice no worse than without it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.calibration.linear_solver import Sample, SolvedLinear, draw, output_loss, solve_linear
from quant.calibration.presets import PRESETS, preset
from quant.calibration.product_solver import solve_mix, solve_scores
from quant.primitives.qparams import choose_qparams
from quant.primitives.quantizers import Codebook, Quantizer, Scaled, Uniform, by_size

BITS = (2, 3, 4, 8)


def rows(count: int = 600, size: int = 24, seed: int = 0) -> Tensor:
    """Rows (n, C) with two channels that stand out."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, generator=generator) + torch.randn(size, generator=generator)
    x[:, 3] *= 30
    x[:, 7] -= 12
    return x


def affine(outputs: int = 10, size: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(outputs, size, generator=generator), torch.randn(
        outputs, generator=generator
    )


def solved(name: str, kind: str, bits: int, x: Tensor | None = None, **change) -> SolvedLinear:
    x = rows() if x is None else x
    chosen = replace(preset(name), **change)
    layer = affine(size=x.shape[1])
    return solve_linear(chosen, kind, x, layer, BITS, bits, torch.Generator().manual_seed(0))


def error(found: SolvedLinear, width: int, x: Tensor) -> float:
    wanted = F.linear(x.double(), *(t.double() for t in affine(size=x.shape[1])))
    return float((found.at(width)(x) - wanted).square().mean())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", ["norm", "gelu", "plain", "patches"])
def test_more_bits_are_closer_on_either_side(name: str, kind: str) -> None:
    x = F.gelu(rows()) if kind == "gelu" else rows()
    by_weight = [error(solved(name, kind, 8, x), width, x) for width in BITS]
    by_input = [error(solved(name, kind, bits, x), 8, x) for bits in BITS]
    assert by_weight == sorted(by_weight, reverse=True)
    assert by_input == sorted(by_input, reverse=True)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_clipping_is_kept_only_where_it_lowers_the_layers_error(bits: int) -> None:
    clipped, plain = (solved("lrp-qvit", "norm", bits, norm=norm) for norm in ("clipped", "repq"))
    x = rows()
    assert error(clipped, bits, x) <= error(plain, bits, x) * (1 + 1e-6)


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("bitlens", "norm", {"norm": "tensor"}),
        ("bitlens", "plain", {"rounding": "nearest"}),
        ("bitlens", "plain", {"bias": False}),
        ("bitlens", "plain", {"inputs": "uniform"}),
        ("bitlens-affine", "plain", {"ranges": "percentile"}),
    ],
)
def test_each_choice_of_the_default_lowers_the_layers_error(
    name: str, kind: str, change: dict, bits: int
) -> None:
    x = rows() if kind == "norm" else rows().clamp(-4, 4)
    with_it, without = (solved(name, kind, bits, x, **c) for c in ({}, change))
    assert error(with_it, bits, x) < error(without, bits, x)


@pytest.mark.parametrize("kind", ["norm", "gelu", "plain", "patches"])
def test_inputs_have_codebooks_below_eight_bits_where_those_have_less_error(kind: str) -> None:
    x = rows() if kind != "gelu" else F.gelu(rows())
    taken = [solved("bitlens", kind, bits, x).quantizer for bits in (3, 4, 8)]
    assert [type(quantizer) for quantizer in taken] == [Codebook, Codebook, Uniform]


@pytest.mark.parametrize("outputs", [5, 60])  # fewer and more than inputs
def test_the_output_loss_is_the_error_of_the_outputs(outputs: int) -> None:
    x, generator = rows(100), torch.Generator().manual_seed(1)
    weight = torch.randn(outputs, 24, generator=generator)
    quantizer = Uniform(choose_qparams(x.min(), x.max(), 4))
    off = torch.einsum("nc,kc->nk", (quantizer(x) - x).double(), weight.double())
    for name, expected in (
        ("bitlens", (off - off.mean(0)).square().sum()),
        ("bitlens:bias=off", off.square().sum()),
        ("lrp-qvit", (quantizer(x) - x).double().square().sum()),
    ):
        once = Sample(x, torch.ones(len(x), 1))
        found = output_loss(once, weight, preset(name))(quantizer)
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)


def test_a_row_that_stands_for_three_counts_as_three_rows() -> None:
    generator = torch.Generator().manual_seed(2)
    x, weight = (torch.randn(40, 24, generator=generator) for _ in range(2))
    shares = torch.ones(40, 1)
    shares[10:] = 3
    repeated = x.repeat_interleave(shares[:, 0].long(), dim=0)
    quantizer = Uniform(choose_qparams(torch.tensor(-2.0), torch.tensor(2.0), 3))
    for name in ("bitlens", "bitlens:bias=off"):
        few = output_loss(Sample(x, shares), weight, preset(name))(quantizer)
        all_of_them = Sample(repeated, torch.ones(len(repeated), 1))
        torch.testing.assert_close(few, output_loss(all_of_them, weight, preset(name))(quantizer))


def test_rare_large_rows_are_always_drawn_and_stand_for_themselves() -> None:
    x = rows()[:1].repeat(20000, 1)
    x[1234] *= 50
    sample = draw(x, torch.Generator().manual_seed(0))
    large = sample.rows.abs().amax(1) > 10 * x[0].abs().max()
    assert large.sum() == 1 and sample.shares[large].item() == 1
    assert float(sample.shares.sum()) == pytest.approx(20000)


@pytest.mark.parametrize("name", ["bitlens", "integer"])
@pytest.mark.parametrize("kind", ["gelu", "plain", "turned"])
def test_eight_bits_reach_a_few_tokens_many_times_as_large_as_all_others(
    name: str, kind: str
) -> None:
    x = torch.randn(12000, 24, generator=torch.Generator().manual_seed(5))
    x[::4000] *= 40
    x = F.gelu(x) if kind == "gelu" else x
    wanted = F.linear(x, *affine())
    found = solved(name, kind, 8, x).at(8)(x)
    off = (found - wanted)[::4000].norm() / wanted[::4000].norm()
    assert off < 0.25


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("inputs", ["uniform", "codebook"])
def test_tokens_of_different_sizes_are_scaled_and_the_error_falls(bits: int, inputs: str) -> None:
    x, _ = by_size(torch.randn(900, 24, generator=torch.Generator().manual_seed(6)))
    sizes = torch.logspace(-1, 1, 900)[:, None]
    for name, rows, pays in (("uneven", x * sizes, True), ("even", x, False)):
        plain, found = (
            solved("bitlens", "plain", bits, rows, inputs=inputs, tokens=tokens)
            for tokens in ("alike", "scaled")
        )
        assert isinstance(found.quantizer, Scaled) == pays, name
        errors = error(found, 8, rows), error(plain, 8, rows)
        assert errors[0] < 0.7 * errors[1] if pays else errors[0] == errors[1]


def attention(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q (S, h, N, d), k^T, softmax's output and v; the heads are of different sizes."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([0.3, 1.0, 2.0]).view(3, 1, 1)
    q, k, v = (torch.randn(6, 3, 12, 8, generator=generator) * sizes for _ in range(3))
    keys = k.transpose(-2, -1)
    return q, keys, (q @ keys).softmax(-1), v


def scale_of(quantizer: Quantizer, head: int) -> float:
    assert isinstance(quantizer, Uniform)
    return float(quantizer.qparams.scale[head])


@pytest.mark.parametrize("bits", [3, 4])
def test_heads_are_chosen_by_themselves(bits: int) -> None:
    q, keys, probabilities, v = attention()
    first, second = solve_scores(preset("bitlens"), q, keys, bits)
    _, third = solve_mix(preset("bitlens"), probabilities, v, bits)
    changed = q.clone(), keys.clone(), v.clone()
    for x in changed:
        x[:, 0] *= 5
    other = solve_scores(preset("bitlens"), changed[0], changed[1], bits)
    _, other_v = solve_mix(preset("bitlens"), probabilities, changed[2], bits)
    pairs = ((first, other[0]), (second, other[1]), (third, other_v))
    for before, after in pairs:
        assert scale_of(after, 0) > scale_of(before, 0)
    for head in (1, 2):
        for before, after in pairs[:2]:
            assert scale_of(after, head) == scale_of(before, head)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_ranges_by_output_beat_those_by_percentile(bits: int) -> None:
    q, keys, probabilities, v = attention()
    wanted, mixed = (q @ keys).softmax(-1), probabilities @ v
    scores, mixes = {}, {}
    for name in ("bitlens", "bitlens:ranges=percentile", "bitlens:per_head=off"):
        first, second = solve_scores(preset(name), q, keys, bits)
        scores[name] = float(((first(q) @ second(keys)).softmax(-1) - wanted).square().sum())
        first, second = solve_mix(preset(name), probabilities, v, bits)
        mixes[name] = float((first(probabilities) @ second(v) - mixed).square().sum())
    for errors in (scores, mixes):
        assert errors["bitlens"] <= min(errors.values()) * 1.0001


@pytest.mark.parametrize("bits", [3, 4])
def test_a_codebook_after_softmax_beats_the_others(bits: int) -> None:
    _, _, probabilities, v = attention()
    wanted, found = probabilities @ v, {}
    for kind in ("codebook", "adalog", "log-sqrt2", "uniform"):
        first, _ = solve_mix(preset(f"bitlens:softmax={kind}"), probabilities, v, bits)
        found[kind] = float((first(probabilities) @ v - wanted).square().sum())
    assert found["codebook"] == min(found.values())
    assert found["adalog"] <= found["log-sqrt2"] * 1.05


def test_a_seed_fixes_everything() -> None:
    first, again = (solved("bitlens", "norm", 4) for _ in range(2))
    x = rows()
    assert torch.equal(first.at(3)(x), again.at(3)(x))
