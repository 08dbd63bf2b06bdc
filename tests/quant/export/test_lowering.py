"""Exported models as ONNX Runtime runs them, against the float model and Bitlens' own."""

import onnx
import pytest
import torch

from lrp.engine.layers import list_layers
from quant.calibration.turning import turned
from quant.export.lowering import Lowering
from quant.export.onnx_runtime import session
from quant.export.qdq import QDQ, least_opset
from quant.export.qonnx_executor import QONNX, executor
from quant.export.skeleton import OPSET
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import LayerBits, quantized, uniform
from quant.primitives.formats import BF16, FLOAT, HALF
from tests.models import SIZE, SMALL, build, random_images
from tests.quant.traced import traced

OTHERS = ("cait", "dinov3", "swinv2", "siglip", "aimv2")  # an export takes seconds

# Of inputs: each takes another pass of a calibration. A DeiT is a ViT with one more token.
WIDTHS = {"vit": (2, 3, 4, 5, 6, 7, 8), "swin": (2, 5, 8)}
AFFINE = "integer:norm=repq,gelu=uniform"


def bare(family, turns=False):
    model = build(family)
    return traced(turned(model, SIZE).model if turns else model, SIZE)


def lowered(calibration, family, allocation, notation=None):
    wanted = quantized(allocation)
    layers = {n: (calibration.quantized(n, b), b.weight) for n, b in wanted.items()}
    floats = calibration.untouched(allocation)
    opset = least_opset(allocation.values())
    turns = calibration.preset.norm == "rotated"
    return Lowering(bare(family, turns), opset, notation or QDQ(), layers, floats)


@pytest.mark.parametrize("family", [*SMALL, *OTHERS, "deit3", "beit", "pit"])
def test_the_float_model_is_the_same_for_any_number_of_images(family):
    model = Lowering(bare(family), OPSET).model()
    onnx.checker.check_model(model, full_check=True)
    run, _ = session(model.SerializeToString())
    for count in (1, 3):
        images = random_images(count)
        torch.testing.assert_close(run(images), build(family)(images), rtol=1e-3, atol=1e-4)


def check(calibration, family, allocation):
    """Some images agree to the last bits: others hold a value that is rounded apart, half way."""
    model = lowered(calibration, family, allocation).model()
    onnx.checker.check_model(model)
    own = QuantizedModel(calibration, allocation)
    images = random_images(9)
    run, _ = session(model.SerializeToString())
    apart = (run(images) - own.run(images)).abs().amax(1)
    assert float(apart.min()) < 1e-5
    assert float(apart.median()) < float((own.run(images) - calibration.model(images)).abs().max())


def mixed(calibration, family):
    """Every width of weights, and those of inputs, each beside others."""
    layers, inputs = list_layers(calibration.model, SIZE), WIDTHS[family]
    pairs = [
        LayerBits(2 + i % 7, inputs[(5 * i + i // 7) % len(inputs)]) for i in range(len(layers))
    ]
    return {layer.name: bits for layer, bits in zip(layers, pairs, strict=True)}


@pytest.mark.parametrize("family", WIDTHS)
@pytest.mark.parametrize("name", ["bitlens", "bitlens-affine"])
def test_every_width_gives_what_bitlens_gives(calibrated, family, name):
    calibration = calibrated(family, name)
    check(calibration, family, mixed(calibration, family))


@pytest.mark.parametrize("family", WIDTHS)
def test_every_width_does_as_qonnx(calibrated, family):
    calibration = calibrated(family, "integer")
    allocation = mixed(calibration, family)
    model = lowered(calibration, family, allocation, QONNX()).model()
    own = QuantizedModel(calibration, allocation)
    images = random_images()
    apart = (executor(model)(images) - own.run(images)).abs().amax(1)
    assert float(apart.min()) < 1e-5


@pytest.mark.parametrize("family", OTHERS)
@pytest.mark.parametrize("name", ["bitlens-affine"])
def test_other_families_do(calibrated, family, name):
    calibration = calibrated(family, name)
    check(calibration, family, uniform(list_layers(calibration.model, SIZE), 8, 8))


@pytest.mark.parametrize("family", SMALL)
def test_layers_left_out_stay_in_float_and_rewritten(calibrated, family):
    calibration = calibrated(family)
    names = [layer.name for layer in list_layers(calibration.model, SIZE)]
    check(calibration, family, {name: LayerBits(8, 8) for name in names[1::2]})


@pytest.mark.parametrize("pair", [(4, HALF), (8, FLOAT), (HALF, HALF), (BF16, BF16)])
def test_one_side_may_stay_in_16_bits_or_in_float(calibrated, pair):
    calibration = calibrated("vit", "integer")
    layers = list_layers(calibration.model, SIZE)
    whole = {layer.name: LayerBits(FLOAT, FLOAT) for layer in layers if layer.is_product}
    check(calibration, "vit", {layer.name: LayerBits(*pair) for layer in layers} | whole)


def test_uniform_affine_bits_leave_nothing_to_do_at_run_time(calibrated):
    for family, name in (("vit", AFFINE), ("deit", AFFINE), ("deit", "integer:gelu=uniform")):
        calibration = calibrated(family, name)
        allocation = uniform(list_layers(calibration.model, SIZE), 8, 8)
        lowering = lowered(calibration, family, allocation)
        model = lowering.model()
        assert lowering.extra == {}
        _, integers = session(model.SerializeToString())
        assert integers >= len(allocation) - 2  # but the patches, and the head's one row


def test_what_is_left_to_do_at_run_time_is_named(calibrated):
    # Swin's first stage begins with a LayerNorm and ends in one over four cells: it is not turned
    behind = ("layers.0.blocks.0.attn.qkv", "layers.0.blocks.0.mlp.fc1")
    second = tuple(name.replace("blocks.0", "blocks.1") for name in behind)
    left = {"vit": (), "swin": (*behind, *second, "layers.1.downsample.reduction")}
    for family, names in left.items():
        calibration = calibrated(family)
        allocation = uniform(list_layers(calibration.model, SIZE), 8, 8)
        extra = lowered(calibration, family, allocation)
        extra.model()
        expected = dict.fromkeys(names, "a rotation") | {"patch_embed.proj": "two rotations"}
        assert extra.extra == expected


def test_the_file_holds_each_weight_once(calibrated):
    calibration = calibrated("vit", AFFINE)
    sizes = []
    for bits in (8, 4, 2):
        allocation = uniform(list_layers(calibration.model, SIZE), bits, 8)
        sizes.append(len(lowered(calibration, "vit", allocation).model().SerializeToString()))
    weights = sum(la.parameters for la in list_layers(calibration.model, SIZE))
    assert sizes[0] - sizes[1] == pytest.approx(weights / 2, rel=0.05)
    assert sizes[1] - sizes[2] == pytest.approx(weights / 4, rel=0.1)
