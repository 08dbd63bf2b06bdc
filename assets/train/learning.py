"""Learn from cluttered digits, step by step, in a way that can be interrupted and gone on with."""

import io
import math
import pickle  # nosec B403 # for its error's name alone: files are read as weights only
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from assets.errors import InputError
from assets.outputs import Output
from assets.pictures import digits

CHECKPOINT_EVERY = 250  # steps
Report = Callable[[int, int, float], None]  # (steps done, steps in all, mean loss since the last)
Batch = tuple[Tensor, Tensor, Tensor]  # uint8 (B, 3, 64, 64), labels (B,), masks (B, 64, 64)


@dataclass(frozen=True)
class Training:
    """How to train; the same values give the same weights on the same machine."""

    steps: int
    batch: int = 64
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05  # share of a cycle's steps
    ramp: float = 0.4  # share of the first cycle in which difficulty rises from 0 to 1; 0: it is 1
    restarts: tuple[int, ...] = ()  # steps at which a new cycle of the learning rate begins
    smoothing: float = 0.05
    token_labels: bool = True  # patches learn too which digit's ink they hold, if any
    low_precision: bool = True  # bfloat16 autocast

    def difficulty(self, step: int) -> float:
        """Return the difficulty of the pictures at a step, 0 to 1."""
        first = (*self.restarts, self.steps)[0]
        return min(1.0, step / (self.ramp * first)) if self.ramp > 0 else 1.0

    def rate(self, step: int) -> float:
        """Return the learning rate at a step.

        In each cycle a linear warm-up, then half a cosine to zero; each cycle peaks at half the
        former's rate (after SGDR, Loshchilov and Hutter 2017).
        """
        begun = [restart for restart in self.restarts if restart <= step]
        start, end = (0, *begun)[-1], (*self.restarts, self.steps)[len(begun)]
        peak, step, length = self.learning_rate / 2 ** len(begun), step - start, end - start
        warm = max(1.0, self.warm_up * length)
        if step < warm:
            return peak * (step + 1) / warm
        share = (step - warm) / max(1.0, length - warm)
        return peak * 0.5 * (1 + math.cos(math.pi * share))


class Batches(Dataset[Batch]):
    """Whole batches by step; picture i of a step is number step * batch + i of the split."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def __getitem__(self, step: int) -> Batch:
        first = step * self.training.batch
        difficulty = self.training.difficulty(step)
        numbers = range(first, first + self.training.batch)
        return stack([digits.sample("train", number, difficulty) for number in numbers])


@dataclass(frozen=True, eq=False)
class Learner:
    """A model and all that its training changes."""

    model: Any  # nn.Module's types know nothing of forward_features and its like
    features: Callable[[Tensor], Tensor]  # the model's forward_features, maybe compiled
    token_head: nn.Linear | None  # used in training alone
    optimizer: torch.optim.Optimizer
    training: Training
    teacher: nn.Module | None

    def step(self, number: int, batch: Batch) -> float:
        """Take one step of AdamW on a batch; return the loss."""
        device = next(self.model.parameters()).device
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.rate(number)
        pictures, labels, masks = (part.to(device) for part in batch)
        images = normalise(pictures)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.training.low_precision):
            loss = self._loss(images, labels, masks)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def _loss(self, images: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of the picture's class, and of the tokens' where they are labelled."""
        features = self.features(images)
        loss = self._class_loss(self.model.forward_head(features), images, labels)
        if self.token_head is None:
            return loss
        first = int(getattr(self.model, "num_prefix_tokens", 0))
        tokens = features.flatten(1, -2)[:, first:]  # (B, N, C), of Swin's (B, H, W, C) too
        logits = self.token_head(tokens).float().flatten(0, 1)
        return loss + token_loss(logits, labels, masks)

    def _class_loss(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy; with a teacher, DeiT's hard distillation.

        Half the loss is the class token's against the label, half the distillation token's
        against the teacher's choice (Touvron et al. 2021, equation 3).
        """
        smoothing = self.training.smoothing
        if self.teacher is None:
            return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        by_class, by_distillation = (part.float() for part in logits)
        with torch.no_grad():
            choice = self.teacher(images).argmax(1)
        own = functional.cross_entropy(by_class, labels, label_smoothing=smoothing)
        return 0.5 * own + 0.5 * functional.cross_entropy(by_distillation, choice)

    def save(self, state: Path, done: int) -> None:
        """Write a checkpoint; an interruption while writing leaves the last one whole."""
        saved = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.token_head is not None:
            saved["token_head"] = self.token_head.state_dict()
        written = io.BytesIO()
        torch.save(saved | {"step": done, "rng": torch.get_rng_state()}, written)
        Output(state).write(written.getvalue())

    def resume(self, state: Path) -> int:
        """Load a checkpoint, if there is one; return the steps done.

        Raises:
            InputError: the file is damaged, or of another training.
        """
        if not state.exists():
            return 0
        try:
            return self._restore(torch.load(state, map_location="cpu", weights_only=True))
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
            raise InputError(
                f"{state} is no checkpoint of this training: delete it, or give another"
            ) from error

    def _restore(self, saved: dict[str, Any]) -> int:
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.token_head is not None:
            self.token_head.load_state_dict(saved["token_head"])
        torch.set_rng_state(saved["rng"])
        return int(saved["step"])


def train(
    model: nn.Module,
    training: Training,
    state: Path,
    teacher: nn.Module | None = None,
    workers: int = 0,
    compiled: bool = False,
    until: int | None = None,
    report: Report | None = None,
) -> int:
    """Train in place, on from the checkpoint `state` if there is one; return the steps done.

    `until` stops early, as an interruption would.
    """
    learner = _learner(model.train(), training, teacher, compiled)
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


def token_loss(logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """Return the cross-entropy of patches against the digit whose ink they hold.

    logits (B*N, K+1), labels (B,), masks (B, H, W).  Patches without ink are the last class, at a
    tenth of the weight as they are many.  After token labelling (Jiang et al. 2021), with the
    true place of the digit instead of an annotator's.
    """
    classes = logits.shape[1] - 1
    side = round((logits.shape[0] / len(labels)) ** 0.5)
    inked = functional.adaptive_max_pool2d(masks.float(), side).flatten(1) > 0
    targets = torch.where(inked, labels[:, None], classes).flatten()
    weight = torch.ones(classes + 1, device=logits.device)
    weight[classes] = 0.1
    return functional.cross_entropy(logits, targets, weight)


def _learner(model: Any, training: Training, teacher: nn.Module | None, compiled: bool) -> Learner:
    """Put an optimizer, and a head for the tokens where they are labelled, beside a model."""
    head, groups = None, _groups(model, training.weight_decay)
    if training.token_labels:
        device = next(model.parameters()).device
        head = nn.Linear(int(model.num_features), len(digits.CLASSES) + 1, device=device)
        groups[0]["params"] += list(head.parameters())
    optimizer = torch.optim.AdamW(groups, training.learning_rate)
    features = torch.compile(model.forward_features) if compiled else model.forward_features
    return Learner(model, features, head, optimizer, training, teacher)


def _batches(training: Training, start: int, workers: int) -> Iterator[Batch]:
    """Yield batches from a step on; the order of pictures does not depend on `start`."""
    steps = range(start, training.steps)
    return iter(DataLoader(Batches(training), batch_size=None, sampler=steps, num_workers=workers))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into matrices, which decay, and vectors and tokens, which do not."""
    listed = getattr(model, "no_weight_decay", None)
    kept = set(listed()) if callable(listed) else set()
    named = list(model.named_parameters())
    decay = [p for n, p in named if p.ndim > 1 and n not in kept]
    rest = [p for n, p in named if p.ndim <= 1 or n in kept]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def stack(samples: list[digits.Sample]) -> Batch:
    """Return pictures as uint8 (B, 3, 64, 64), labels (B,) and masks (B, 64, 64)."""
    pictures = np.stack([np.asarray(sample.image) for sample in samples])
    labels = torch.tensor([sample.label for sample in samples])
    masks = torch.from_numpy(np.stack([sample.mask for sample in samples]))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), labels, masks


def normalise(pictures: Tensor) -> Tensor:
    """Scale uint8 pictures to -1..1, the bundled models' mean and std of 0.5."""
    return pictures.float() / 127.5 - 1


@torch.inference_mode()
def accuracy(model: nn.Module, split: str, count: int | None = None) -> float:
    """Return top-1 on a split's first pictures (default: all) at full difficulty, 0 to 1."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    hits, total = 0, count or digits.LENGTHS[split]
    for first in range(0, total, 100):
        block = range(first, min(first + 100, total))
        pictures, labels, _ = stack([digits.sample(split, number) for number in block])
        hits += int((model(normalise(pictures.to(device))).argmax(1).cpu() == labels).sum())
    model.train(training)
    return hits / total
