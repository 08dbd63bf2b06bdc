"""Learn from cluttered digits, step by step, in a way that can be interrupted and gone on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from assets import digits

CHECKPOINT_EVERY = 250  # steps
Report = Callable[[int, int, float], None]  # (steps done, steps in all, mean loss since the last)
Batch = tuple[Tensor, Tensor]  # uint8 pictures (B, 3, 64, 64), labels (B,)


@dataclass(frozen=True)
class Training:
    """How to train; the same values give the same weights on the same machine."""

    steps: int
    batch: int = 64
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05  # share of the steps
    ramp: float = 0.4  # share of the steps in which difficulty rises from 0 to 1
    smoothing: float = 0.05
    low_precision: bool = True  # bfloat16 autocast

    def difficulty(self, step: int) -> float:
        """Return the difficulty of the pictures at a step, 0 to 1."""
        return min(1.0, step / max(1.0, self.ramp * self.steps))

    def rate(self, step: int) -> float:
        """Return the learning rate at a step: linear warm-up, then half a cosine to zero."""
        warm = max(1.0, self.warm_up * self.steps)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        share = (step - warm) / max(1.0, self.steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


class Batches(Dataset[Batch]):
    """Whole batches by step; picture i of a step is number step * batch + i of the split."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def __len__(self) -> int:
        return self.training.steps

    def __getitem__(self, step: int) -> Batch:
        first = step * self.training.batch
        difficulty = self.training.difficulty(step)
        numbers = range(first, first + self.training.batch)
        return stack([digits.sample("train", number, difficulty) for number in numbers])


@dataclass(frozen=True, eq=False)
class Learner:
    """A model and all that its training changes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    training: Training
    teacher: nn.Module | None

    def step(self, number: int, batch: Batch) -> float:
        """Take one step of AdamW on a batch; return the loss."""
        device = next(self.model.parameters()).device
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.rate(number)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.training.low_precision):
            loss = self._loss(normalise(batch[0], device), batch[1].to(device))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy; with a teacher, DeiT's hard distillation.

        Half the loss is the class token's against the label, half the distillation token's
        against the teacher's choice (Touvron et al. 2021, equation 3).
        """
        smoothing = self.training.smoothing
        logits = self.model(images)
        if self.teacher is None:
            return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        by_class, by_distillation = (part.float() for part in logits)
        with torch.no_grad():
            choice = self.teacher(images).argmax(1)
        own = functional.cross_entropy(by_class, labels, label_smoothing=smoothing)
        return 0.5 * own + 0.5 * functional.cross_entropy(by_distillation, choice)

    def save(self, state: Path, done: int) -> None:
        """Write a checkpoint; an interruption while writing leaves the last one whole."""
        state.parent.mkdir(parents=True, exist_ok=True)
        partial = state.with_suffix(".partial")
        saved = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(saved | {"step": done, "rng": torch.get_rng_state()}, partial)
        partial.replace(state)

    def resume(self, state: Path) -> int:
        """Load a checkpoint, if there is one; return the steps done."""
        if not state.exists():
            return 0
        saved = torch.load(state, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
        return int(saved["step"])


def train(
    model: nn.Module,
    training: Training,
    state: Path,
    teacher: nn.Module | None = None,
    workers: int = 0,
    until: int | None = None,
    report: Report | None = None,
) -> int:
    """Train in place, on from the checkpoint `state` if there is one; return the steps done.

    `until` stops early, as an interruption would.
    """
    optimizer = torch.optim.AdamW(_groups(model, training.weight_decay), training.learning_rate)
    learner = Learner(model.train(), optimizer, training, teacher)
    done = learner.resume(state)
    last, losses = min(until or training.steps, training.steps), []
    for number, batch in zip(range(done, last), _batches(training, done, workers), strict=False):
        losses.append(learner.step(number, batch))
        if (number + 1) % CHECKPOINT_EVERY == 0 or number + 1 == last:
            learner.save(state, number + 1)
            if report is not None:
                report(number + 1, training.steps, sum(losses) / len(losses))
            losses = []
    return max(done, last)


def _batches(training: Training, start: int, workers: int) -> Iterator[Batch]:
    """Yield batches from a step on; the order of pictures does not depend on `start`."""
    steps = range(start, training.steps)
    return iter(DataLoader(Batches(training), batch_size=None, sampler=steps, num_workers=workers))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split parameters into matrices, which decay, and vectors and tokens, which do not."""
    listed = getattr(model, "no_weight_decay", None)
    kept = set(listed()) if callable(listed) else set()
    named = list(model.named_parameters())
    decay = [p for n, p in named if p.ndim > 1 and n not in kept]
    rest = [p for n, p in named if p.ndim <= 1 or n in kept]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def stack(samples: list[digits.Sample]) -> Batch:
    """Return pictures as uint8 (B, 3, 64, 64) and labels (B,)."""
    pictures = np.stack([np.asarray(sample.image) for sample in samples])
    labels = torch.tensor([sample.label for sample in samples])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), labels


def normalise(pictures: Tensor, device: torch.device) -> Tensor:
    """Scale uint8 pictures to -1..1, the bundled models' mean and std of 0.5."""
    return pictures.to(device).float() / 127.5 - 1


@torch.inference_mode()
def accuracy(model: nn.Module, split: str, count: int | None = None) -> float:
    """Return top-1 on a split's first pictures (default: all) at full difficulty, 0 to 1."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    hits, total = 0, count or digits.LENGTHS[split]
    for first in range(0, total, 100):
        block = range(first, min(first + 100, total))
        pictures, labels = stack([digits.sample(split, number) for number in block])
        hits += int((model(normalise(pictures, device)).argmax(1).cpu() == labels).sum())
    model.train(training)
    return hits / total
