"""Captum's two measures of an explanation, for many methods over many images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity
from torch import Tensor, nn

from lrp.engine.progress import SILENT, Progress, follow
from lrp.maps.cells import PICTURES, grid
from lrp.methods.catalogue import Maps, Method

DELETED = 0.1  # of an image's cells, for infidelity


@dataclass(frozen=True, eq=False)
class Robustness:
    """Infidelity and max-sensitivity of one method over T images, each (T,); lower is better."""

    infidelity: Tensor
    max_sensitivity: Tensor


def robustness(
    model: nn.Module,
    batches: Iterable[Tensor],
    images: int,
    methods: Sequence[Method],
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
    seed: int = 0,
) -> dict[str, Robustness]:
    """Measure methods on `images` images that come in `batches` of (B, 3, H, W).

    The class is the predicted one; all methods see the same deletions and the same noise.

    Args:
        progress: told (maps done, methods x images).

    Raises:
        ValueError: no images.
        Cancelled: the work was to stop.
    """
    measures: dict[str, list[tuple[Tensor, Tensor]]] = {method.name: [] for method in methods}
    done = 0
    for batch in follow(batches, images):
        pictures = batch.to(device)
        with torch.no_grad():
            target = model(pictures).argmax(1)
        for method in methods:
            progress.check()
            measures[method.name].append(_measured(model, pictures, target, method, seed))
            done += len(batch)
            progress(done, len(methods) * images)
    return {
        name: Robustness(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))
        for name, pairs in measures.items()
    }


def _measured(
    model: nn.Module, images: Tensor, target: Tensor, method: Method, seed: int
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = method.maps(model, images, target)
    wrong = infidelity(model, images, maps, target, generator)
    moved = max_sensitivity(method.maps, model, images, target, generator)
    return wrong.cpu(), moved.cpu()


def infidelity(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    target: Tensor,
    generator: torch.Generator,
    samples: int = 32,
) -> Tensor:
    """Return captum's infidelity of each map: (B,), in squared logits; lower is better.

    Mean of (b sum over deleted cells of map - (f(x) - f(x without them)))^2 over `samples` random
    deletions (Yeh et al. 2019), b the best scale for each image, as maps have units of their own.
    Our reading of the deletion: each cell takes the mean colour with probability 1/10; of many at
    once, a map that only counts them predicts the fall well.

    Args:
        maps: (B, h, w) of any size.
        generator: draws the deletions; on the CPU.
    """
    size = grid(model, *images.shape[-2:])

    def delete(pictures: Tensor) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(len(pictures), 1, *size, generator=generator)
        gone = _enlarged((drawn < DELETED).to(pictures), pictures)
        return gone, pictures * (1 - gone)

    return captum_infidelity(
        model,
        delete,
        images,
        _enlarged(maps[:, None], images),
        target=target,
        n_perturb_samples=samples,
        max_examples_per_batch=_at_once(images, samples),
        normalize=True,
    )


def max_sensitivity(
    maps: Maps,
    model: nn.Module,
    images: Tensor,
    target: Tensor,
    generator: torch.Generator,
    radius: float = 0.02,
    samples: int = 10,
) -> Tensor:
    """Return how far a little noise moves each map, at most, by captum: (B,); lower is better.

    max over `samples` of |map(x + noise) - map(x)| / |map(x)|, the noise uniform in +- `radius`
    for every normalised value (Yeh et al. 2019).

    Args:
        maps: what makes the maps, such as `Method.maps`.
        generator: draws the noise; on the CPU.
    """

    def explain(pictures: Tensor | tuple[Tensor], target: Tensor) -> tuple[Tensor]:
        pictures = pictures if isinstance(pictures, Tensor) else pictures[0]
        with torch.enable_grad():  # captum turns gradients off
            return (maps(model, pictures, target).contiguous(),)

    def shake(pictures: Tensor, radius: float) -> Tensor:
        noise = torch.rand(pictures.shape, generator=generator).to(pictures)
        return pictures + radius * (2 * noise - 1)

    return captum_sensitivity(
        explain,
        images,
        shake,
        perturb_radius=radius,
        n_perturb_samples=samples,
        max_examples_per_batch=_at_once(images, samples),
        target=target,
    )


def _enlarged(cells: Tensor, images: Tensor) -> Tensor:
    """Give every pixel and colour the value of its cell: (B, 1, h, w) -> (B, 3, H, W)."""
    enlarged = F.interpolate(cells, images.shape[-2:], mode="nearest-exact")
    return enlarged.expand(-1, images.shape[1], -1, -1)


def _at_once(images: Tensor, samples: int) -> int:
    """Return how many pictures captum may take in one pass: whole batches, at least one."""
    batches = max(1, PICTURES // len(images))
    return len(images) * min(batches, samples)
