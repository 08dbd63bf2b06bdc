"""Write a model for ONNX Runtime, and check it there."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime
import torch
from torch import Tensor

from quant.export.check import Run, checked, latency
from quant.export.graph import described
from quant.export.lowering import Lowering, lowered
from quant.export.qdq import QDQ, WIDTHS, check_preset, least_opset
from quant.export.request import Exported, Request
from quant.export.skeleton import OPSET, skeleton

THREADS = 2
# What integers are multiplied by, once ONNX Runtime has put DequantizeLinear and MatMul together.
INTEGER = {"MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "QLinearConv", "MatMulInteger"}


def export_onnx(request: Request) -> Exported:
    """Return a file of QuantizeLinear and DequantizeLinear nodes, checked by ONNX Runtime.

    Raises:
        ValueError: the opset does not hold the bits; ONNX has no room for a layer or an operation
            (it is named); answers are not those of Bitlens.
    """
    check_preset(request.calibration.preset)
    request.require_widths(WIDTHS, "ONNX Runtime")
    opset = request.opset_from(least_opset(request.allocation.values()))
    plain = skeleton(request.calibration.turned.model, request.input_size)
    lowering = lowered(request, plain, opset, QDQ())
    model, whole = lowering.model(), Lowering(plain, OPSET).model().SerializeToString()
    run, kernels = session(model.SerializeToString())
    answers = checked(run, request)
    times = latency(run, session(whole)[0], torch.zeros(1, *request.input_size))
    report = {
        "opset": opset,
        "float_bytes": len(whole),
        **answers,
        "latency": asdict(times),
        "integer_products": kernels,
        "at_run_time": lowering.extra,
    }
    return described(model, request.facts, report, "onnxruntime")


def session(model: bytes) -> tuple[Run, int]:
    """Return how ONNX Runtime runs a model on this machine's CPU, and its integer products."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = THREADS, 3
    with TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        opened = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath)
    kinds = Counter(node.op_type for node in optimized.graph.node)

    def run(images: Tensor) -> Tensor:
        (logits,) = opened.run(["logits"], {"images": images.cpu().numpy()})
        return torch.from_numpy(logits)

    return run, sum(kinds[kind] for kind in INTEGER)
