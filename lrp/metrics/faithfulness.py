"""Faithfulness: how a class's probability falls when what a method calls relevant is deleted."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrp.engine.device import forward_backward, timed
from lrp.engine.progress import SILENT, Progress, follow
from lrp.maps.cells import grid
from lrp.methods.catalogue import Method
from lrp.metrics.deletion import STEPS, curves, deleted, ends


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Deletion curves of one method over T images, at S steps from nothing deleted to all.

    Attributes:
        method: the method's name.
        deleted: (S + 1,) share of the cells gone.
        morf: (T, S + 1) probability of the predicted class, most relevant cells deleted first.
        lerf: the same, least relevant first.
        seconds: an image's map takes, median over the batches.
        cost: the same as a multiple of the model's own forward and backward pass.
    """

    method: str
    deleted: Tensor
    morf: Tensor
    lerf: Tensor
    seconds: float
    cost: float

    @property
    def morf_area(self) -> Tensor:
        """Mean over each image's MoRF curve: (T,); low where the map is faithful."""
        return self.morf.mean(1)

    @property
    def lerf_area(self) -> Tensor:
        """Mean over each image's LeRF curve: (T,); high where the map is faithful."""
        return self.lerf.mean(1)

    @property
    def gap(self) -> Tensor:
        """LeRF - MoRF of each image: (T,); 0 for a random order, the larger the more faithful."""
        return self.lerf_area - self.morf_area

    @property
    def gap_mean(self) -> float:
        """Mean of the gap over the images."""
        return float(self.gap.mean())

    @property
    def gap_se(self) -> float:
        """Standard error of that mean; NaN for one image."""
        return float(standard_error(self.gap))

    def versus(self, other: "Faithfulness") -> tuple[float, float]:
        """Return how much larger this gap is than another method's: mean, standard error.

        The difference is taken image by image: both saw the same ones, so that what makes an image
        easy or hard for either drops out.
        """
        difference = self.gap - other.gap
        return float(difference.mean()), float(standard_error(difference))


def standard_error(values: Tensor) -> Tensor:
    """Return the standard error of the mean over the first dimension; NaN for one value."""
    if len(values) == 1:
        return torch.full_like(values[0], math.nan)
    return values.std(0) / math.sqrt(len(values))


def faithfulness(
    model: nn.Module,
    batches: Iterable[Tensor],
    images: int,
    methods: Sequence[Method],
    device: str | torch.device = "cpu",
    steps: int = STEPS,
    progress: Progress = SILENT,
    on_maps: Callable[[str, Tensor], None] | None = None,
    seed: int = 0,
) -> dict[str, Faithfulness]:
    """Measure methods on `images` images that come in `batches` of (B, 3, H, W).

    Each batch goes through all methods before the next is read: all see the same pictures and the
    same state of the machine, and of a single image the methods are finished one by one.

    Args:
        progress: told (maps done, methods x images) and, as `so_far`, a method's figures over the
            images so far, after each batch.
        on_maps: told a method's name and its maps (B, h, w) of a batch, before their curves.
        seed: of the order in which equal values of a map are deleted.

    Raises:
        ValueError: no images, a map that is not finite, or steps that do not suit the cells.
        Cancelled: the work was to stop.
    """
    runs, results = [_Run(method, steps, seed) for method in methods], {}
    done = 0
    for batch in follow(batches, images):
        pictures = batch.to(device)
        probabilities = ends(model, pictures)
        shared = _Batch(pictures, probabilities[:-1].argmax(1), probabilities)
        for run in runs:
            progress.check()
            maps = run.explain(model, shared)
            if on_maps is not None:
                on_maps(run.method.name, maps)
            results[run.method.name] = run.delete(model, shared, maps)
            done += len(batch)
            progress(done, len(runs) * images, so_far=results[run.method.name])
    return results


@dataclass(frozen=True, eq=False)
class _Batch:
    """What all methods share: images, their predicted classes, the ends of their curves."""

    images: Tensor
    target: Tensor
    ends: Tensor


class _Run:
    """One method on its way through the batches."""

    def __init__(self, method: Method, steps: int, seed: int) -> None:
        self.method, self.steps = method, steps
        self.generator = torch.Generator().manual_seed(seed)
        self.morf: list[Tensor] = []
        self.lerf: list[Tensor] = []
        self.seconds: list[float] = []  # an image, batch by batch
        self.costs: list[float] = []

    def explain(self, model: nn.Module, batch: _Batch) -> Tensor:
        """Make the batch's maps and take the time, with the model's own passes right after."""
        images, target = batch.images, batch.target
        if not self.costs:  # a first call prepares what later ones find ready
            self.method.maps(model, images, target)
            forward_backward(model, images, target)
        maps, seconds = timed(lambda: self.method.maps(model, images, target), images.device)
        _, own = timed(lambda: forward_backward(model, images, target), images.device)
        self.seconds.append(seconds / len(images))
        self.costs.append(seconds / own)
        return maps.detach()

    def delete(self, model: nn.Module, batch: _Batch, maps: Tensor) -> Faithfulness:
        """Add the batch's curves and return the figures over all images so far."""
        images, target = batch.images, batch.target
        morf, lerf = curves(model, images, maps, target, self.steps, self.generator, batch.ends)
        self.morf.append(morf.cpu())
        self.lerf.append(lerf.cpu())
        cells = math.prod(grid(model, *images.shape[-2:]))
        return Faithfulness(
            self.method.name,
            deleted(cells, self.steps) / cells,
            torch.cat(self.morf),
            torch.cat(self.lerf),
            statistics.median(self.seconds),
            statistics.median(self.costs),
        )
