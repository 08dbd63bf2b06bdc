"""How much relevance each family keeps: sums at the blocks' inputs, as shares of the start.

Small random models of each family, every parameter disturbed by N(0, 0.1) so that biases, position
tables and class tokens matter; and the bundled trained models. In float64, for the top class.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from assets.models.load import BUNDLED, load_model
from assets.sets.image_set import load_images
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import PRESETS, Rules
from lrp.propagation.trace import Trace
from tests.models import FAMILIES, build, random_images, without_constants

SEEDS = 5
IMAGES = 4
TRAINED_IMAGES = 32


def main() -> None:
    """Print a table in Markdown: median (minimum to maximum) over blocks, images and seeds."""
    print("\nrelevance kept, by family\n")
    print("| family | " + " | ".join(PRESETS) + " | nothing added, attention constant |")
    print("|---|" + "---|" * (len(PRESETS) + 1))
    for family in FAMILIES:
        kept = [_row(family, rules) for rules in PRESETS.values()]
        print(f"| {family} | {' | '.join(map(_spread, kept))} | {_exactness(family):.0e} |")
    for name in BUNDLED:
        model, images = _trained(name)
        kept = [shares(model, images, rules) for rules in PRESETS.values()]
        print(f"| {name} | {' | '.join(map(_spread, kept))} | |")


def shares(model: nn.Module, images: Tensor, rules: Rules) -> Tensor:
    """Return the sum of relevance at each block's input over the start, flat."""
    found = relevance(Trace(model, images, rules))
    sums = [tokens.reshape(len(images), -1).sum(1) for tokens in found.blocks.values()]
    return (torch.stack(sums) / found.start).flatten()


def _row(family: str, rules: Rules) -> Tensor:
    images = random_images(IMAGES).double()
    models = (build(family, torch.float64, seed) for seed in range(SEEDS))
    return torch.cat([shares(model, images, rules) for model in models])


def _exactness(family: str) -> float:
    """Return the largest departure from 1 under every preset that lets biases take a share."""
    model = without_constants(build(family, torch.float64))
    images = random_images(IMAGES).double()
    rules = [replace(r, softmax="constant") for r in PRESETS.values() if r.softmax == "taylor"]
    return max(float((shares(model, images, r) - 1).abs().max()) for r in rules)


def _trained(name: str) -> tuple[nn.Module, Tensor]:
    loaded = load_model(name)
    pictures = load_images(None, loaded)
    images = torch.stack([pictures[index][0] for index in range(TRAINED_IMAGES)])
    return loaded.model.double(), images.double()


def _spread(values: Tensor) -> str:
    return f"{values.median():.2f} ({values.min():.2f} to {values.max():.2f})"
