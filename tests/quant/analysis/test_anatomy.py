"""What is shown of a quantized layer, derived again: NumPy, float64, timm's own forward."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from lrp.engine.progress import Cancelled, Progress
from quant.analysis import clipping as clipping_module
from quant.analysis.anatomy import anatomy, attention, side, weight_side
from quant.analysis.clipping import LIMITS, clipping, is_normed
from quant.analysis.layer_errors import ACTIVATIONS, BOTH, WEIGHTS, decibels, sqnr_by_width
from quant.calibration.calibration import Calibration
from quant.calibration.linear_solver import SolvedLinear
from quant.calibration.presets import PRESETS
from quant.layers.quantized import Rounded
from quant.model.float_layers import FloatLayers, Seen, look
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import MENU, LayerBits, uniform
from quant.primitives.qparams import QParams
from quant.primitives.quantizer_search import fit_percentile
from quant.primitives.quantizers import Codebook, Logarithmic, Scaled, Uniform, codebook
from tests import models

PLAIN = "repq-vit"  # rewrites nothing: its layers are the model's own
W4A4 = LayerBits(4, 4)


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return models.build("vit")


def calibration(model: nn.Module, preset: str = PLAIN) -> Calibration:
    return Calibration(model, models.random_images(), PRESETS[preset])


@pytest.fixture(scope="module")
def plain(vit: nn.Module) -> Calibration:
    return calibration(vit)


def hooked(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """The input of a module in the model's own forward pass."""
    seen: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    model(images)
    handle.remove()
    return seen[0]


def in_decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    wanted, found = wanted.astype(float), found.astype(float)
    return 10 * math.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())


def test_decibels_without_noise_or_signal_are_no_nan() -> None:
    assert decibels(1.0, 0.0) == math.inf
    assert decibels(0.0, 0.0) == math.inf
    assert decibels(0.0, 1.0) == -math.inf
    assert decibels(100.0, 1.0) == pytest.approx(20)


@pytest.mark.parametrize("name", ["blocks.1.attn.qkv", "blocks.0.mlp.fc2", "head"])
def test_a_layer_sees_what_it_sees_in_the_models_own_pass(
    vit: nn.Module, plain: Calibration, name: str
) -> None:
    images = models.random_images()
    seen = look(plain, images, name)
    torch.testing.assert_close(seen.operands[0], hooked(vit, name, images).flatten(0, -2))
    assert seen.affine is not None
    torch.testing.assert_close(seen.affine[0], vit.get_submodule(name).weight)


def test_a_convolution_is_seen_as_rows(vit: nn.Module, plain: Calibration) -> None:
    images = models.random_images()
    seen = look(plain, images, "patch_embed.proj")
    assert seen.affine is not None
    found = F.linear(seen.operands[0], *seen.affine)
    wanted = vit.patch_embed.proj(images).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("family", list(models.SMALL))
@pytest.mark.parametrize("preset", ["bitlens", PLAIN])
def test_watching_every_layer_changes_no_logit(family: str, preset: str) -> None:
    model, images = models.build(family), models.random_images()
    kept = calibration(model, preset)
    heard: list[str] = []
    layers = FloatLayers(kept.surveyed(), lambda seen, _: heard.append(seen.name))
    logits = layers.run(images)
    torch.testing.assert_close(logits, model(images), rtol=1e-3, atol=1e-3)
    assert heard == [layer.name for layer in list_layers(model, models.SIZE)]


def test_an_unknown_layer_is_named(plain: Calibration) -> None:
    with pytest.raises(ValueError, match=r"blocks\.9\.attn\.qkv"):
        look(plain, models.random_images(), "blocks.9.attn.qkv")


def test_a_side_counts_all_values_and_splits_the_error() -> None:
    x = torch.randn(4000, generator=torch.Generator().manual_seed(1))
    q = QParams(torch.tensor(0.25), torch.tensor(7.0), 4)
    found = side(x, Uniform(q))
    values = x.double().numpy()
    levels = 0.25 * (np.arange(16) - 7)
    nearest = levels[np.abs(values[:, None] - levels).argmin(1)]
    outside = (values < levels[0] - 0.125) | (values > levels[-1] + 0.125)
    squared = (values - nearest) ** 2
    assert found.before.sum() == found.after.sum() == 4000
    assert found.levels == len(np.unique(nearest))
    assert found.error == pytest.approx(in_decibels(values, nearest), abs=1e-3)
    assert found.clipped == pytest.approx(outside.mean())
    assert found.clipping == pytest.approx(squared[outside].sum() / squared.sum(), rel=1e-4)
    assert (found.unit, found.moved) == ("", 0.0)
    stairs = levels[np.abs(found.x[:, None] - levels).argmin(1)]
    assert np.mean(np.abs(found.stairs - stairs) < 1e-6) > 0.99  # but on the very edges


def test_heads_of_their_own_scale_are_counted_in_steps() -> None:
    x = torch.randn(5, 2, 30, 4, generator=torch.Generator().manual_seed(2))
    x[:, 1] *= 100
    scale = torch.tensor([0.5, 50.0]).view(2, 1, 1)
    found = side(x, Uniform(QParams(scale, torch.full((2, 1, 1), 4.0), 3)))
    values = (x / scale).double().numpy()
    levels = np.clip(np.round(values), -4, 3)
    assert found.unit == "steps"
    assert found.levels == 8
    assert found.clipped == pytest.approx(((values < -4.5) | (values > 3.5)).mean())
    assert found.error == pytest.approx(
        in_decibels(x.numpy(), levels * scale.double().numpy()), abs=1e-3
    )
    assert set(np.unique(found.stairs)) <= set(range(-4, 4))


def test_tokens_of_their_own_size_are_counted_in_it() -> None:
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(2)) * torch.arange(50)[:, None]
    levels = Uniform(QParams(torch.tensor(0.25), torch.tensor(5.0), 4))
    found = side(x, Scaled(levels))
    sizes = x.double().square().mean(1, keepdim=True).sqrt().clamp_min(1e-30)
    values = (x.double() / sizes).numpy()
    codes = np.clip(np.round(values / 0.25), -5, 10)
    assert (found.unit, found.moved) == ("sizes", 0.0)
    assert found.edges[0] == pytest.approx(values.min(), rel=1e-5)
    assert found.before.sum() == found.after.sum() == 400
    assert found.levels == len(np.unique(codes))
    assert found.clipped == pytest.approx(
        ((values < -1.375) | (values > codes.max() / 4 + 0.125)).mean()
    )
    wanted = codes * 0.25 * sizes.numpy()
    assert found.error == pytest.approx(in_decibels(x.numpy(), wanted), abs=1e-3)
    assert set(np.unique(found.stairs)) <= set(np.arange(-5, 11) / 4)


@pytest.mark.parametrize(
    "quantizer",
    [
        Logarithmic(1.0, 2**0.5, 3),
        codebook(torch.tensor([0.0, 3, 20, 255]), 1 / 255, 0, 2),
    ],
    ids=["logarithmic", "codebook"],
)
def test_uneven_staircases_rise(quantizer: Logarithmic | Codebook) -> None:
    x = torch.rand(3000, generator=torch.Generator().manual_seed(3))
    found = side(x, quantizer)
    assert (np.diff(found.stairs) >= 0).all()
    assert found.levels == len(set(quantizer(x).tolist()))


@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_a_constant_operand_gives_numbers(value: float) -> None:
    q = QParams(torch.tensor(0.5), torch.tensor(2.0), 3)
    found = side(torch.full((40,), value), Uniform(q))
    assert found.before.sum() == found.after.sum() == 40
    assert not np.isnan([found.error, found.clipped, found.clipping]).any()
    assert np.isfinite(found.edges).all()


def test_weights_are_counted_in_steps_of_their_channel() -> None:
    weight = torch.tensor([[1.0, 0.4, -0.2], [20.0, -10.0, 4.0]])
    codes = torch.tensor([[4, 2, 0], [2, -1, 0]], dtype=torch.int8)
    rounded = Rounded(codes, torch.tensor([0.25, 10.0]), torch.zeros(2))
    quantizer = Uniform(QParams(torch.tensor(1.0), torch.tensor(0.0), 4))
    found = weight_side(SolvedLinear(quantizer, None, {3: rounded}), 3, (weight, torch.zeros(2)))
    # in steps 4, 1.6, -0.8 and 2, -1, 0.4: -0.8 is nearest to -1, which its row does not have
    assert found.clipped == pytest.approx(1 / 6)
    assert found.moved == 0
    assert found.levels == 8
    values = np.array([[1.0, 0.5, 0.0], [20, -10, 0]])
    assert found.error == pytest.approx(in_decibels(weight.numpy(), values), abs=1e-4)
    moved = Rounded(codes + torch.tensor([[0, -1, 0], [0, 0, 0]], dtype=torch.int8),
                    rounded.scale, rounded.bias)  # fmt: skip
    away = SolvedLinear(quantizer, None, {3: moved})
    assert weight_side(away, 3, (weight, torch.zeros(2))).moved == pytest.approx(1 / 6)


@pytest.mark.parametrize("preset", ["bitlens", "lrp-qvit"])
def test_a_layers_error_is_that_of_its_output(vit: nn.Module, preset: str) -> None:
    kept = calibration(vit, preset)
    seen = look(kept, models.random_images(), "blocks.1.mlp.fc1")
    assert seen.affine is not None
    found = anatomy(kept, seen, LayerBits(3, 5))
    (x,), (weight, bias) = seen.operands, seen.affine
    wanted = x.double() @ weight.double().T + bias.double()
    output = kept.layer("blocks.1.mlp.fc1", LayerBits(3, 5))(x)
    assert found.error == pytest.approx(in_decibels(wanted.numpy(), output.numpy()), abs=0.01)
    assert found.turned == {"bitlens": "Stream", "lrp-qvit": "Rescaling"}[preset]


def test_an_attention_product_has_two_factors(plain: Calibration) -> None:
    seen = look(plain, models.random_images(), "blocks.0.attn.matmul2")
    found = anatomy(plain, seen, W4A4)
    a, b = seen.operands
    torch.testing.assert_close(a.sum(-1), torch.ones(a.shape[:-1]))
    output = plain.layer("blocks.0.attn.matmul2", W4A4)(a, b)
    wanted = torch.einsum("bhij,bhjd->bhid", a, b)
    assert found.error == pytest.approx(in_decibels(wanted.numpy(), output.numpy()), abs=0.01)
    assert [s.before.sum() for s in found.sides] == [a.numel(), b.numel()]


def test_the_sweep_is_every_layers_anatomy(calibrated: Callable[..., Calibration]) -> None:
    kept, images, reports = calibrated("swin"), models.random_images(), []
    found = sqnr_by_width(kept, images, Progress(lambda *told: reports.append(told[:2])))
    layers = list_layers(kept.model, models.SIZE)
    assert found.names == tuple(layer.name for layer in layers)
    assert found.widths == MENU
    assert found.errors.shape == (len(layers), 3, len(MENU))
    assert not np.isnan(found.errors).any()
    assert reports[-1] == (len(layers), len(layers))
    for layer in layers[:7]:
        seen = look(kept, images, layer.name)
        for place, width in ((0, 2), (3, 5)):
            alone = anatomy(kept, seen, LayerBits(width, width)).error
            assert found.errors[found.names.index(layer.name), BOTH, place] == pytest.approx(alone)


def test_one_side_alone_leaves_the_other_in_float(plain: Calibration) -> None:
    images, name = models.random_images(), "blocks.1.attn.proj"
    seen = look(plain, images, name)
    assert seen.affine is not None
    everything = sqnr_by_width(plain, images)
    found = everything.errors[everything.names.index(name)]
    (x,), (weight, bias) = seen.operands, seen.affine
    solved = plain._passes[4].solved(name, 4)
    wanted = F.linear(x, weight, bias)
    activations = F.linear(solved.quantizer(x), weight, bias)
    weights = F.linear(x, plain._passes[8].solved(name, 4).weights[4].values, bias)
    assert found[ACTIVATIONS, 2] == pytest.approx(
        in_decibels(wanted.numpy(), activations.numpy()), abs=0.01
    )
    assert found[WEIGHTS, 2] == pytest.approx(
        in_decibels(wanted.numpy(), weights.numpy()), abs=0.01
    )


def test_a_sweep_can_be_cancelled(plain: Calibration) -> None:
    plain.solve()
    with pytest.raises(Cancelled):
        sqnr_by_width(plain, models.random_images(), progress=Progress(stopped=lambda: True))


def test_only_what_a_layernorm_gives_is_normed(plain: Calibration) -> None:
    assert is_normed(plain, "blocks.0.attn.qkv")
    assert is_normed(plain, "blocks.1.mlp.fc1")
    assert not is_normed(plain, "blocks.1.mlp.fc2")
    assert not is_normed(plain, "patch_embed.proj")


@pytest.fixture
def few_limits(monkeypatch: pytest.MonkeyPatch) -> tuple[float, ...]:
    monkeypatch.setattr(clipping_module, "LIMITS", (0.5, 1.0, 2.0, 50.0))
    return clipping_module.LIMITS


def test_clipping_touches_the_channels_beyond_the_threshold(
    plain: Calibration, few_limits: tuple[float, ...]
) -> None:
    seen = look(plain, models.random_images(), "blocks.1.attn.qkv")
    found = clipping(plain, seen, W4A4)
    x = seen.operands[0].double().numpy()
    q = fit_percentile(seen.operands[0].T.contiguous(), 4)
    scale, zero = q.scale.double().numpy(), q.zero_point.double().numpy()
    for limit, touched in zip(few_limits, found.touched, strict=True):
        bounds = [(max(v.mean() - limit * v.std(), v.min()), v.mean() + limit * v.std())
                  for v in (scale, zero)]  # fmt: skip
        other = np.abs(scale.clip(*bounds[0]) - scale) > 1e-6 * scale
        assert touched == (other | (zero.clip(*bounds[1]).round() != zero)).sum()
        low, high, changed = found.covered(limit)
        assert changed.sum() == touched
        np.testing.assert_allclose((high - low)[~changed], 15 * scale[~changed], rtol=1e-5)
    assert found.touched[-1] == 0
    assert found.errors[-1] == pytest.approx(found.plain)
    assert found.best == int(np.argmax(found.errors))
    assert (found.low <= found.high).all()
    assert (found.low >= x.min(0) - 1e-6).all()
    assert (found.high <= x.max(0) + 1e-6).all()


def test_a_range_each_is_what_repq_vit_gives(plain: Calibration) -> None:
    """Per-channel quantization with the weight on the same grid as after reparameterisation."""
    seen = look(plain, models.random_images(), "blocks.1.mlp.fc1")
    assert seen.affine is not None
    found = clipping(plain, seen, W4A4)
    assert found.plain == pytest.approx(found.own, abs=0.05)  # this preset's way is that way


def test_the_place_of_a_threshold_is_the_nearest(plain: Calibration) -> None:
    found = clipping(plain, look(plain, models.random_images(), "head"), W4A4)
    assert LIMITS[found.at(2.04)] == 2.0
    assert LIMITS[found.at(99.0)] == LIMITS[-1]


@pytest.mark.parametrize("family", list(models.SMALL))
def test_attention_is_that_of_timm_and_of_the_quantized_model(family: str) -> None:
    model, images = models.build(family), models.random_images(1)
    kept = calibration(model)
    layers = list_layers(model, models.SIZE)
    product = next(layer.name for layer in layers if layer.role == "matmul2")
    found = attention(kept, uniform(layers, 8, 8), images, product)
    scores = look(kept, images, product.replace("matmul2", "matmul1"))
    seen: Seen = look(kept, images, product)
    np.testing.assert_allclose(found.plain, seen.operands[0].mean(0).numpy(), atol=1e-5)
    assert found.windows == len(scores.operands[0])
    np.testing.assert_allclose(found.plain.sum(-1), 1, atol=1e-4)
    rough = attention(kept, uniform(layers, 2, 2), images, product)
    np.testing.assert_array_equal(rough.plain, found.plain)
    fine, coarse = (np.abs(f.quantized - f.plain).mean() for f in (found, rough))
    assert fine < coarse


def test_attention_is_only_in_attention(plain: Calibration, vit: nn.Module) -> None:
    layers = list_layers(vit, models.SIZE)
    with pytest.raises(ValueError, match="reads no softmax"):
        attention(plain, uniform(layers, 8, 8), models.random_images(1), "blocks.0.mlp.fc1")


def test_watching_leaves_other_runs_alone(plain: Calibration, vit: nn.Module) -> None:
    layers, images = list_layers(vit, models.SIZE), models.random_images()
    before = QuantizedModel(plain, uniform(layers, 4, 4)).run(images)
    anatomy(plain, look(plain, images, "blocks.0.attn.qkv"), W4A4)
    after = QuantizedModel(plain, uniform(layers, 4, 4)).run(images)
    torch.testing.assert_close(before, after, rtol=0, atol=0)
