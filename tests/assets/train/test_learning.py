"""Training: the same pictures in the same order, interrupted or not."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from assets.errors import InputError
from assets.models.architectures import RECIPES, build
from assets.models.load import load_model
from assets.models.manifest import read_manifest, sha256_of
from assets.pictures import digits
from assets.train import __main__ as train
from assets.train.learning import Batches, Training, accuracy, normalise, token_loss
from assets.train.learning import train as learn

TINY = {"img_size": 64, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}
SHORT = Training(steps=4, batch=3, token_labels=False, low_precision=False)


def tiny(architecture: str = "vit_tiny_patch16_224") -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(architecture, num_classes=10, **TINY)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = tiny(), tiny(), tiny()
    assert learn(whole, SHORT, tmp_path / "whole.pt") == 4
    assert learn(first, SHORT, tmp_path / "parts.pt", until=2) == 2
    assert learn(second, SHORT, tmp_path / "parts.pt") == 4
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(whole.head.weight, first.head.weight)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first, second = tiny(), tiny()
    learn(first, SHORT, tmp_path / "state.pt")
    assert learn(second, SHORT, tmp_path / "state.pt") == 4
    assert torch.equal(first.head.weight, second.head.weight)


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    learn(tiny(), SHORT, tmp_path / "state.pt", report=lambda *facts: seen.append(facts))
    assert [facts[:2] for facts in seen] == [(4, 4)]
    assert 1 < seen[0][2] < 5  # near log(10), a guess's loss


def test_batches_follow_the_index_of_the_split() -> None:
    pictures, labels, masks = Batches(Training(steps=10, batch=4))[6]
    for place in range(4):
        drawn = digits.sample("train", 24 + place, 1.0)
        assert np.array_equal(pictures[place].permute(1, 2, 0).numpy(), np.asarray(drawn.image))
        assert labels[place] == drawn.label
        assert np.array_equal(masks[place].numpy(), drawn.mask)


def test_difficulty_and_rate_follow_their_schedules() -> None:
    training = Training(steps=1000)
    assert training.difficulty(0) == 0
    assert training.difficulty(200) == pytest.approx(0.5)
    assert training.difficulty(400) == training.difficulty(999) == 1
    rates = [training.rate(step) for step in range(1000)]
    assert rates[49] == pytest.approx(1e-3) and rates[0] == pytest.approx(2e-5)
    assert np.all(np.diff(rates[:50]) > 0) and np.all(np.diff(rates[50:]) < 0)
    assert rates[525] == pytest.approx(0.5e-3)  # halfway through the cosine
    assert rates[-1] < 1e-8
    assert Training(steps=9, ramp=0.0).difficulty(0) == 1


def test_a_restart_begins_a_cycle_at_half_the_rate_and_full_difficulty() -> None:
    once, twice = Training(steps=1000), Training(steps=1600, restarts=(1000,))
    assert [twice.rate(s) for s in range(1000)] == [once.rate(s) for s in range(1000)]
    assert [twice.difficulty(s) for s in range(1000)] == [once.difficulty(s) for s in range(1000)]
    second = Training(steps=600, learning_rate=0.5e-3)
    assert [twice.rate(1000 + s) for s in range(600)] == [second.rate(s) for s in range(600)]
    assert twice.difficulty(1000) == 1


def test_distillation_weighs_label_and_teacher_equally(tmp_path: Path) -> None:
    student, teacher = tiny("deit_tiny_distilled_patch16_224"), tiny().eval()
    student.set_distilled_training(True)
    training = Training(1, 5, smoothing=0.0, token_labels=False, low_precision=False)
    pictures, labels, _ = Batches(training)[0]
    images = normalise(pictures)
    with torch.no_grad():
        by_class, by_distillation = (part.log_softmax(1) for part in student(images))
        choice = teacher(images).argmax(1)
    rows = torch.arange(5)
    expected = -(by_class[rows, labels] + by_distillation[rows, choice]).mean() / 2
    losses: list[float] = []
    learn(student, training, tmp_path / "s.pt", teacher, report=lambda *f: losses.append(f[2]))
    assert losses == [pytest.approx(float(expected), abs=1e-5)]


def test_token_loss_is_the_weighted_mean_over_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2 * 4, 4, generator=generator)  # 2 pictures, 2x2 patches, 3 classes
    labels = torch.tensor([2, 0])
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 1, 6] = True  # first picture, top right patch
    masks[1, 4:, :4] = True  # second picture, bottom left patch
    targets, total, weights = [3, 2, 3, 3, 3, 3, 0, 3], 0.0, 0.0
    for row, target in zip(logits, targets, strict=True):
        weight = 0.1 if target == 3 else 1.0
        total -= weight * float(row.log_softmax(0)[target])
        weights += weight
    assert float(token_loss(logits, labels, masks)) == pytest.approx(total / weights, rel=1e-5)


def test_a_run_with_labelled_tokens_resumes_alike(tmp_path: Path) -> None:
    training = Training(steps=3, batch=3, low_precision=False)
    whole, first, second = tiny(), tiny(), tiny()
    names = set(whole.state_dict())
    for model, state, until in ((whole, "whole", None), (first, "parts", 1)):
        torch.manual_seed(5)  # draws the head of the tokens
        learn(model, training, tmp_path / f"{state}.pt", until=until)
    torch.manual_seed(6)
    learn(second, training, tmp_path / "parts.pt")
    assert set(whole.state_dict()) == names  # that head is no part of the model
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_distilled_training_starts_from_the_plain_model() -> None:
    torch.manual_seed(0)
    model, plain = build("digits-deit").eval(), load_model("digits-vit").model
    train._start("digits-deit", model)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    # Without its distillation token the distilled model must be the plain one.
    patches = torch.cat([model.cls_token.expand(2, -1, -1), model.patch_embed(images)], dim=1)
    places = torch.cat([model.pos_embed[:, :1], model.pos_embed[:, 2:]], dim=1)
    features = model.norm(model.blocks(patches + places))
    with torch.no_grad():
        assert torch.allclose(model.head(features[:, 0]), plain(images), atol=1e-5)


def test_accuracy_counts_hits() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.eye(10)[3])

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(images), 10)

    labels = [digits.sample("calibration", index).label for index in range(150)]
    assert accuracy(Constant(), "calibration", 150) == labels.count(3) / 150


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_bundled_models_are_small_and_of_timm(name: str) -> None:
    model = build(name)
    assert type(model).__module__.startswith("timm.models.")
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_500_000
    config = timm.data.resolve_model_data_config(model)
    assert config["input_size"] == (3, 64, 64) and config["crop_pct"] == 1.0
    assert config["mean"] == config["std"] == (0.5, 0.5, 0.5)
    assert model.num_classes == 10


def test_the_command_line_trains_and_writes_weights_and_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(digits.LENGTHS, "validation", 20)
    monkeypatch.setitem(digits.LENGTHS, "calibration", 20)
    words = "digits-vit --steps 2 --batch 2 --workers 0 --device cpu"
    paths = ["--state", str(tmp_path / "s.pt"), "--out", str(tmp_path)]
    assert train.main([*words.split(), *paths]) == 0
    entry = read_manifest(tmp_path)["digits-vit"]
    assert (entry.steps, entry.batch, entry.images) == (2, 2, 20)
    assert entry.sha256 == sha256_of(tmp_path / "weights" / "digits-vit.safetensors")


def test_a_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    learn(tiny(), SHORT, state, until=1)
    whole = state.read_bytes()
    for damaged in (b"", b"nothing", whole[: len(whole) // 2]):
        state.write_bytes(damaged)
        with pytest.raises(InputError, match=r"state\.pt is no checkpoint of this training"):
            learn(tiny(), SHORT, state)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
