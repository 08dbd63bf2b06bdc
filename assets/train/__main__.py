"""Train a bundled model from scratch on cluttered digits: `python -m assets.train MODEL`.

Interrupt it at will: it goes on from its last checkpoint, with the same pictures in the same order.
"""

import argparse
import time
from pathlib import Path

import timm
import torch
from safetensors.torch import save
from torch import nn

from assets import terminal
from assets.errors import InputError
from assets.models import manifest
from assets.models.architectures import RECIPES, build
from assets.models.load import load_model
from assets.outputs import Output, OutputFolder, tried
from assets.pictures import digits
from assets.train.learning import Report, Training, accuracy, train

STATES = Path(".bitlens/train")


def main(arguments: list[str] | None = None) -> int:
    """Train, measure and write one bundled model."""
    options = _options(arguments)
    options.state = options.state or Output(STATES / f"{options.model}.pt")
    weights = manifest.weights_path(options.model, Path("."))
    options.files = OutputFolder(options.out, (str(weights), "manifest.json"))
    with tried(options):
        return _train(options)


def _train(options: argparse.Namespace) -> int:
    if options.threads:
        torch.set_num_threads(options.threads)
    device = _device(options.device)
    torch.manual_seed(options.seed)
    model = build(options.model).to(device)
    _start(options.model, model)
    teacher = _teacher(options.model, model, device)
    training = _training(options)
    state, report = Path(options.state.path), _progress(model)
    train(model, training, state, teacher, options.workers, options.compile, report=report)
    entry = export(options.model, model, training, options.out)
    terminal.note(f"{options.model}: top-1 {entry.top1:.4f} on {entry.images} pictures")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = terminal.Parser(prog="python -m assets.train", description=__doc__)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--steps", type=_positive, help="default: as the bundled weights had")
    parser.add_argument("--batch", type=_positive, default=64, help="pictures a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=_positive, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    parser.add_argument("--compile", action="store_true", help="compile: faster after minutes")
    parser.add_argument("--state", type=Output, help=f"checkpoint (default: {STATES}/MODEL.pt)")
    parser.add_argument("--out", type=Path, default=manifest.FOLDER, help="folder of the manifest")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _device(name: str) -> torch.device:
    """Return the device to train on; InputError where there is none of that name."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device {name!r} here: use auto or cpu") from error


def _training(options: argparse.Namespace) -> Training:
    """Return how to train: from random weights with rising difficulty, or on from a start."""
    recipe = RECIPES[options.model]
    steps = options.steps or recipe.steps
    if recipe.start is None:
        restarts = tuple(restart for restart in recipe.restarts if restart < steps)
        return Training(steps, options.batch, options.seed, restarts=restarts)
    return Training(steps, options.batch, options.seed, learning_rate=5e-4, ramp=0.0)


def _start(name: str, model: nn.Module) -> None:
    """Copy the starting model's weights; a distillation token and its head stay random.

    The class token is first in both, and the distillation token second, so position embeddings
    are copied around it.
    """
    start = RECIPES[name].start
    if start is None:
        return
    given, own = load_model(start).model.state_dict(), model.state_dict()
    own.update({key: value for key, value in given.items() if key != "pos_embed"})
    given_places, own_places = given["pos_embed"], own["pos_embed"].clone()
    own_places[:, :1], own_places[:, 2:] = given_places[:, :1], given_places[:, 1:]
    model.load_state_dict(own | {"pos_embed": own_places})


def _teacher(name: str, model: nn.Module, device: torch.device) -> nn.Module | None:
    """Return the trained teacher of a distilled model and switch distillation on, or None."""
    teacher = RECIPES[name].teacher
    if teacher is None:
        return None
    model.set_distilled_training(True)  # type: ignore[operator]  # timm's distilled models have it
    return load_model(teacher, device=device).model


def export(name: str, model: nn.Module, training: Training, folder: Path) -> manifest.ManifestEntry:
    """Measure a trained model; write its weights (float32) and its entry in the manifest."""
    path = manifest.weights_path(name, folder)
    tensors = {k: v.float().cpu().contiguous() for k, v in model.state_dict().items()}
    Output(path).write(save(tensors))
    entry = manifest.ManifestEntry(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        top1=accuracy(model, "validation"),
        images=digits.LENGTHS["validation"],
        seed=training.seed,
        steps=training.steps,
        batch=training.batch,
        teacher=RECIPES[name].teacher,
        start=RECIPES[name].start,
        sha256=manifest.sha256_of(path),
        trained_with={"torch": torch.__version__, "timm": timm.__version__},
    )
    manifest.write_entry(name, entry, folder)
    return entry


def _progress(model: nn.Module) -> Report:
    """Return a reporter of loss, accuracy on calibration pictures and time left."""
    last: list[tuple[int, float]] = []

    def report(done: int, total: int, loss: float) -> None:
        hits = accuracy(model, "calibration")
        line = f"step {done} of {total}: loss {loss:.3f}, calibration top-1 {hits:.3f}"
        last.append((done, time.monotonic()))
        if len(last) > 1:
            (before, then), (now, here) = last[-2:]
            line += f", {(here - then) / (now - before) * (total - done) / 60:.0f} min left"
        terminal.note(line)

    return report


if __name__ == "__main__":
    terminal.start(main)
