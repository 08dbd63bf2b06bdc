"""Learned layers as a calibration pass, which has a file: `quant.calibration.store`."""

import hashlib

from quant.calibration.linear_solver import SolvedLinear
from quant.calibration.passes import Pass, needed
from quant.calibration.presets import Preset
from quant.calibration.store import Stored, file_of
from quant.calibration.tuning.block import Layers
from quant.layers.quantized import QuantizedProduct
from quant.primitives.bits import Allocation, quantized

NUMBER = 0  # what the pass is called: no width


def digest_of(allocation: Allocation) -> str:
    """Name the widths of the layers that are quantized."""
    pairs = sorted((name, str(bits)) for name, bits in quantized(allocation).items())
    return hashlib.sha256(repr(pairs).encode()).hexdigest()[:24]


def learned_name(digest: str, part: bool = False) -> str:
    """Return the name of the file of learned layers, or of those that are learned so far."""
    return f"learned-{digest}{'-part' if part else ''}.safetensors"


def files_of(allocation: Allocation, preset: Preset) -> set[str]:
    """Return the names of the files that hold all that an allocation is run by."""
    names = {file_of(number) for number in needed(allocation)}
    return names | {learned_name(digest_of(allocation))} if names and preset.tuned else names


def as_pass(learned: Layers, allocation: Allocation) -> Pass:
    """Return learned layers as a pass, each at its one width."""
    made = Pass(NUMBER)
    for name, layer in learned.items():
        if isinstance(layer, QuantizedProduct):
            made.products[name] = layer.first, layer.second
        else:
            weights = {allocation[name].weight: layer.weight}
            made.linear[name] = SolvedLinear(layer.quantizer, layer.transform, weights)
    return made


def layers_in(stored: Stored, allocation: Allocation) -> Layers:
    """Read the learned layers back."""
    products = {
        n: QuantizedProduct(*(stored.operand(n, i) for i in (0, 1))) for n in stored.products
    }
    width = {name: allocation[name].weight for name in stored.linear}
    return {n: stored.solved(n, w).at(w) for n, w in width.items()} | products
