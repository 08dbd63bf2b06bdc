"""Learn the layers of one block, so that it gives what the float model's gives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp.engine.progress import Progress
from quant.calibration.tuning.learned import Learned, learned, parameters
from quant.calibration.tuning.running import CHUNK, Running
from quant.layers.quantized import QuantizedLinear, QuantizedProduct

BATCH = 8
HELD_OUT = 8  # one image in so many says whether what was learned is better

Layers = dict[str, QuantizedLinear | QuantizedProduct]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a block is to learn.

    Attributes:
        inputs: (B, ..., C), as the layers before it, quantized, give them.
        outputs: (B, ..., C), what the float model's block gives for the float model's inputs.
        weights: (B, ..., 1), of squared errors.
        images: how many images there are; B is a multiple, images first and their views after.
    """

    inputs: Tensor
    outputs: Tensor
    weights: Tensor
    images: int

    def parts(self) -> tuple[Tensor, Tensor]:
        """Return which of the B to learn from, and which to judge by: other images, if enough."""
        places = torch.arange(len(self.inputs))
        held = places % self.images % HELD_OUT == HELD_OUT - 1
        return (places[~held], places[held]) if bool(held.any()) else (places, places)

    def error(self, outputs: Tensor, places: Tensor) -> Tensor:
        """Return the weighted squared error of what a block gives for some of the inputs."""
        squared = (outputs - self.outputs[places]).square() * self.weights[places]
        return squared.sum() / len(places)


class BlockTuner:
    """Learns the layers of one block by Adam, on batches drawn with `generator`."""

    def __init__(
        self, name: str, running: Running, lesson: Lesson, generator: torch.Generator
    ) -> None:
        self._name, self._running, self._lesson = name, running, lesson
        self._generator = generator

    def tune(self, layers: Layers, steps: int, progress: Progress) -> Layers:
        """Return `layers` as learned; as they were where others would not be better.

        Raises:
            Cancelled: the work was to stop.
        """
        learn, judge = self._lesson.parts()
        made = {name: learned(layer) for name, layer in layers.items()}
        self._learn(made, learn, steps, progress)
        found = {name: layer.made() for name, layer in made.items()}
        return found if self._off(found, judge) < self._off(layers, judge) else layers

    def _learn(
        self, layers: Mapping[str, Learned], places: Tensor, steps: int, progress: Progress
    ) -> None:
        running, optimizer = self._running.having(layers), torch.optim.Adam(parameters(layers))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2
        )
        for step in range(steps):
            progress(step, steps)
            drawn = torch.randperm(len(places), generator=self._generator)[:BATCH]
            batch = places[drawn]
            outputs = running.block(self._name, self._lesson.inputs[batch])
            optimizer.zero_grad()
            self._lesson.error(outputs, batch).backward()
            if not _finite(optimizer):
                return  # values too large to square: what is learned by now is judged
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def _off(self, layers: Layers, places: Tensor) -> float:
        running = self._running.having(layers)
        parts = places.split(CHUNK)
        errors = [
            self._lesson.error(running.block(self._name, self._lesson.inputs[part]), part)
            * len(part)
            for part in parts
        ]
        return float(torch.stack(errors).sum() / len(places))


def _finite(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether all gradients are finite."""
    groups = (group["params"] for group in optimizer.param_groups)
    slopes = [p.grad for group in groups for p in group if p.grad is not None]
    return all(bool(torch.isfinite(slope).all()) for slope in slopes)
