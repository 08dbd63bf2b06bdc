"""Write a model for ONNX Runtime, and check it there."""

import json
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime
import torch
from torch import Tensor

from quant.export.check import Run, compare, latency
from quant.export.lowering import Lowering
from quant.export.qdq import QDQ, check_preset, least_opset
from quant.export.request import Exported, Request
from quant.export.skeleton import OPSET, skeleton
from quant.model.quantized_model import QuantizedModel

NEWEST = 25  # opset that the ONNX Runtime we test with runs
THREADS = 2
# What integers are multiplied by, once ONNX Runtime has put DequantizeLinear and MatMul together.
INTEGER = {"MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "QLinearConv", "MatMulInteger"}
PACKAGES = ("onnx", "onnxruntime", "torch", "timm")


def export_onnx(request: Request) -> Exported:
    """Return a file of QuantizeLinear and DequantizeLinear nodes, checked by ONNX Runtime.

    Raises:
        ValueError: the opset does not hold the bits; ONNX has no room for a layer or an operation
            (it is named); answers are not those of Bitlens.
    """
    check_preset(request.calibration.preset)
    opset = _opset(request)
    calibration, allocation = request.calibration, request.allocation
    calibration.solve_for(allocation, request.progress.of("calibrating, layer"))
    layers = {n: (calibration.quantized(n, b), b.weight) for n, b in allocation.items()}
    plain = skeleton(request.model, request.input_size)
    lowering = Lowering(plain, opset, QDQ(), layers, calibration.untouched(allocation))
    model, whole = lowering.model(), Lowering(plain, OPSET).model().SerializeToString()
    checked, kernels = _checked(request, model.SerializeToString(), whole)
    report = {
        "opset": opset,
        "float_bytes": len(whole),
        **checked,
        "integer_products": kernels,
        "at_run_time": lowering.extra,
        "versions": {name: version(name) for name in PACKAGES},
    }
    onnx.helper.set_model_props(model, {**request.facts, "check": json.dumps(report)})
    content = model.SerializeToString()
    return Exported(content, {"bytes": len(content), **report})


def _opset(request: Request) -> int:
    least = least_opset(request.allocation.values())
    asked = least if request.opset is None else request.opset
    if asked < least:
        raise ValueError(f"opset {asked} of ONNX has no integers so narrow: use --opset {least}")
    if asked > NEWEST:
        raise ValueError(f"opset {asked} of ONNX is too new: use --opset {least} to {NEWEST}")
    return asked


def _checked(request: Request, model: bytes, whole: bytes) -> tuple[dict[str, object], int]:
    """Compare answers and latencies, as JSON; count integer products."""
    run, kernels = session(model)
    own = QuantizedModel(request.model, request.calibration, request.allocation)
    device = request.calibration.images.device
    compared = compare(run, lambda images: own.run(images.to(device)).cpu(), request.images())
    compared.check()
    times = latency(run, session(whole)[0], torch.zeros(1, *request.input_size))
    return {"check": asdict(compared), "latency": asdict(times)}, kernels


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
