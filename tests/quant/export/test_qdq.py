"""Quantizers as ONNX Runtime computes them, against Bitlens' own on the same values."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from quant.export.graph import Graph
from quant.export.qdq import QDQ, least_opset
from quant.export.skeleton import OPSET
from quant.layers.quantized import QuantizedLinear, Rounded
from quant.primitives.bits import LayerBits
from quant.primitives.floats import Cast
from quant.primitives.formats import FLOAT, HALF
from quant.primitives.qparams import QParams, choose_qparams
from quant.primitives.quantizers import Logarithmic, Scaled, Uniform, codebook

WIDTHS = range(2, 9)


def computed(opset, write, *inputs):
    """What ONNX Runtime makes of a graph that `write` writes on inputs a, b ..."""
    names = "ab"[: len(inputs)]
    ins = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape)
        for name, x in zip(names, inputs, strict=True)
    ]
    free = [f"d{i}" for i in range(inputs[0].dim())]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, free)
    graph = Graph(helper.make_model(helper.make_graph([], "g", ins, [out])), opset)
    graph.add("Identity", write(graph, *names), out="out")
    model = graph.model()
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


def written(quantizer):
    def write(graph, x):
        coded = QDQ().input(graph, quantizer, x)
        if coded.offset is None:
            return coded.name
        return graph.add("Add", coded.name, graph.constant(coded.offset.numpy()))

    return write


def values(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(("low", "high"), [(-2.0, 3.0), (0.5, 4.0), (-7.0, -2.0), (0.0, 1.0)])
def test_a_range_is_kept_wherever_it_lies(bits, low, high):
    x = values(2, 5, 7)
    quantizer = Uniform(choose_qparams(torch.tensor(low), torch.tensor(high), bits))
    found = computed(least_opset([LayerBits(8, bits)]), written(quantizer), x)
    torch.testing.assert_close(found, quantizer(x), rtol=1e-5, atol=1e-5)
    assert len(found.unique()) <= 2**bits


@pytest.mark.parametrize("bits", WIDTHS)
def test_each_head_has_a_range_of_its_own(bits):
    x = values(2, 3, 5, 4)
    low, high = (torch.tensor(ends).view(3, 1, 1) for ends in ([-1.0, -3, 0.5], [1.0, 0.5, 5]))
    quantizer = Uniform(choose_qparams(low, high, bits))
    found = computed(least_opset([LayerBits(8, bits)]), written(quantizer), x)
    torch.testing.assert_close(found, quantizer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("zero_point", [0, 40, -30])
def test_a_codebook_is_a_table(zero_point):
    levels = torch.tensor([0.0, 3, 40, 90, 200, 255])
    quantizer = codebook(levels, 0.05, zero_point, 3)
    x = values(3, 50)
    found = computed(OPSET, written(quantizer), x)
    torch.testing.assert_close(found, quantizer(x), rtol=1e-5, atol=1e-5)
    assert len(found.unique()) > 3


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("zero", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("inputs", [8, HALF, FLOAT])
def test_weights_are_the_integers_they_were(bits, zero, inputs):
    """Beside inputs in float ONNX Runtime rounds these to 8 bits, if it can: it must not."""
    levels = 2**bits - 1
    shift = 128 if bits == 8 else round(zero * levels)
    generator = torch.Generator().manual_seed(bits)
    codes = torch.randint(0, levels + 1, (6, 10), generator=generator) - shift
    weight = Rounded(codes.to(torch.int8), torch.rand(6, generator=generator) + 0.1, torch.zeros(6))
    x, quantizer = values(4, 10), Uniform(choose_qparams(torch.tensor(-3.0), torch.tensor(3.0), 8))
    quantizer = quantizer if inputs == 8 else Cast(inputs)
    layer = QuantizedLinear(quantizer, weight)

    def write(graph, name):
        x = written(quantizer)(graph, name)
        return graph.add("MatMul", x, QDQ().weight(graph, layer, bits))

    found = computed(least_opset([LayerBits(bits, inputs)]), write, x)
    torch.testing.assert_close(found, quantizer(x) @ weight.values.T, rtol=1e-5, atol=1e-4)


def test_a_product_of_heads_runs_though_its_scales_differ():
    """ONNX Runtime makes one integer product of the two, which it then cannot run."""
    first, second = values(2, 3, 5, 4), values(2, 3, 4, 5)
    scale = torch.tensor([0.02, 0.03, 0.05]).view(3, 1, 1)
    quantizer = Uniform(QParams(scale, torch.full_like(scale, 100.0), 8))

    def write(graph, a, b):
        return graph.add("MatMul", written(quantizer)(graph, a), written(quantizer)(graph, b))

    found = computed(OPSET, write, first, second)
    torch.testing.assert_close(found, quantizer(first) @ quantizer(second), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("bits", "opset"), [((8, 8), OPSET), ((5, 6), OPSET), ((4, 8), 21), ((8, 2), 21), ((2, 8), 25)]
)
def test_the_first_opset_is_told_that_holds_the_bits(bits, opset):
    assert least_opset([LayerBits(8, 8), LayerBits(*bits)]) == opset


def test_narrow_weights_are_packed():
    codes = np.zeros((64, 64), dtype=np.int8)
    weight = Rounded(torch.from_numpy(codes), torch.ones(64), torch.zeros(64))
    sizes = []
    for bits in (8, 4, 2):
        graph = Graph(helper.make_model(helper.make_graph([], "g", [], [])), 25)
        QDQ().weight(graph, QuantizedLinear(Cast(FLOAT), weight), bits)
        sizes.append(sum(one.ByteSize() for one in graph.constants.values()))
    assert sizes[0] - sizes[1] == 2048
    assert sizes[1] - sizes[2] == 1024


LOG = Logarithmic(1.0, 2.0, 4)
SCALED = Scaled(Uniform(QParams(torch.tensor(0.1), torch.tensor(8.0), 4)))


@pytest.mark.parametrize("quantizer", [LOG, SCALED])
def test_what_onnx_has_not_is_refused_with_a_preset_that_can(quantizer):
    graph = Graph(helper.make_model(helper.make_graph([], "g", [], [])), OPSET)
    with pytest.raises(ValueError, match="use the preset integer"):
        QDQ().input(graph, quantizer, "x")
