"""Calibration and quantized evaluation, against the float forward pass."""

from __future__ import annotations

import torch

from bench.models import NAMES, build
from bench.timing import ratios, show
from lrp.layers import list_layers
from quant.allocation import uniform
from quant.calibration import calibrate
from quant.fakequant import QuantizedModel


def main() -> None:
    """Measure a batch of 8 at 4 and 8 bits."""
    for name in NAMES:
        model, images = build(name)
        layers = list_layers(model, (3, 224, 224))
        calibration = calibrate(model, [images], len(images))
        allocations = {f"W{b}A{b}": uniform(layers, b, b) for b in (4, 8)}
        quantized = {n: QuantizedModel(model, calibration, a) for n, a in allocations.items()}
        with torch.inference_mode():
            runs = {
                "float forward": lambda model=model, images=images: model(images),
                **{
                    f"{n} forward": lambda q=q, images=images: q.run(images)
                    for n, q in quantized.items()
                },
                "calibrate": lambda model=model, images=images: calibrate(model, [images], 8),
                "quantize all weights": lambda m=model, c=calibration, a=allocations["W4A4"]: (
                    QuantizedModel(m, c, a)
                ),
            }
            show(f"quantization, {name}, 8 images", ratios(runs, "float forward"))
