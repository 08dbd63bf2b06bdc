"""The formats a model can be exported to."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from quant.export.request import Exported, Request

INSTALL = "make export-tools"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        says: what it is for.
        module, function: what exports to it; imported when it is asked for, as it needs packages
            that Bitlens runs without.
        suffix: of its files' names.
    """

    says: str
    module: str
    function: str
    suffix: str

    def export(self, request: Request) -> Exported:
        """Export a model, checked by the format's own runtime.

        Raises:
            ValueError: packages are missing; the format has no room for the model.
        """
        return self._function()(request)

    def _function(self) -> Callable[[Request], Exported]:
        try:
            return getattr(import_module(f"quant.export.{self.module}"), self.function)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{error.name} is not installed, which exports need: run `{INSTALL}`"
            ) from error


FORMATS = {
    "onnx": Format("integers that ONNX Runtime runs", "onnx_runtime", "export_onnx", ".onnx"),
    "aimet": Format(
        "ONNX beside AIMET's encodings 1.0.0", "aimet_encodings", "export_aimet", ".zip"
    ),
    "torchao": Format(
        "a state for PyTorch with torchao", "torchao_tensors", "export_torchao", ".pt"
    ),
    "qonnx": Format("widths that FINN and hls4ml build", "qonnx_executor", "export_qonnx", ".onnx"),
}
