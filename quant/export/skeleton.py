"""The float model as an ONNX graph, with a placeholder for each product of matrices."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from lrp.engine.interpreter import Convolution, Interpreter, Linear, Size

DOMAIN = "bitlens"  # of placeholders
OPSET = 20  # the first that has GELU as one operator
LARGEST = 2**31 - 2**24  # bytes of weights beside which there is room for a graph


class _Marking(Interpreter):
    """Run a model with placeholders for its products; torch's exporter watches."""

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        output = form.apply(input, weight, bias)
        operands = [input, weight] if bias is None else [input, weight, bias]
        if isinstance(form, Convolution):
            return _placeholder(
                "Convolution", operands, output, layer=name, **_settings(form, output)
            )
        rows = [size if isinstance(size, int) else -1 for size in input.shape]
        return _placeholder("Linear", operands, output, layer=name, rows=rows)

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        output = torch.matmul(input, other)
        return _placeholder("Product", [input, other], output, layer=name)


def _placeholder(kind: str, operands: list[Tensor], output: Tensor, **attributes: Any) -> Tensor:
    shape = output.shape
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{kind}", operands, attributes, dtype=output.dtype, shape=shape, version=1
    )


def _settings(form: Convolution, output: Tensor) -> dict[str, Any]:
    """Return the attributes of ONNX's Conv, and the size (h, w) of what it gives."""
    sizes = {"strides": _pair(form.stride), "dilations": _pair(form.dilation)}
    reach = [d * (k - 1) for d, k in zip(sizes["dilations"], form.kernel, strict=True)]
    if isinstance(form.padding, str):
        first = [0, 0] if form.padding == "valid" else [size // 2 for size in reach]
        last = [0, 0] if form.padding == "valid" else [size - size // 2 for size in reach]
    else:
        first = last = _pair(form.padding)
    kernel = {"kernel_shape": list(form.kernel), "group": form.groups}
    return {"size": list(output.shape[2:]), "pads": [*first, *last], **kernel, **sizes}


def _pair(size: Size) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


class _Whole(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return _Marking(self.model).run(images)


def skeleton(model: nn.Module, input_size: tuple[int, int, int]) -> onnx.ModelProto:
    """Return a graph from images (B, 3, H, W) to logits (B, K), for any B.

    Nodes of the domain "bitlens" stand for products, with the layer's name as an attribute:
    Linear and Convolution (input, weight, bias) and Product (first, second).

    Raises:
        ValueError: the model is too large, or does what cannot be exported (it is named).
    """
    if sum(parameter.nbytes for parameter in model.parameters()) > LARGEST:
        raise ValueError("the float model has more than 2 GB, which one ONNX file cannot hold")
    parameter = next(model.parameters())
    images = torch.zeros(2, *input_size, device=parameter.device, dtype=parameter.dtype)
    batch = {"images": {0: torch.export.Dim.DYNAMIC}}
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    settings = names | {"dynamo": True, "opset_version": OPSET, "verbose": False}
    with _quiet(), torch.no_grad():
        try:
            traced = torch.export.export(_Whole(model), (images,), dynamic_shapes=batch)
            made = torch.onnx.export(traced, **settings)
        except Exception as error:  # whatever a model may do
            raise ValueError(f"ONNX has no room for this model: {_innermost(error)}") from error
    assert made is not None
    return made.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from telling how it does it."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _innermost(error: BaseException) -> str:
    """Return the first line of the innermost of an exporter's errors, which names the operation."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]
