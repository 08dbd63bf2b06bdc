"""Requests to export small models, for the tests of several formats."""

import torch

from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.export.request import Request
from quant.primitives.bits import Allocation
from tests.models import IMAGES, SIZE, build, random_images


def asked(family: str, allocation: Allocation, name: str) -> Request:
    """Ask for a family's small model under a preset, checked on its own images."""
    model = build(family)
    calibration = Calibration(model, random_images(), preset(name))
    batches = [(random_images(), torch.zeros(IMAGES, dtype=torch.long))]
    return Request(model, SIZE, calibration, allocation, lambda: batches, {"model": family})
