"""What is left of the relevance at each depth, and what took the rest."""

from collections import Counter

import pytest
import torch

from app.explain import conservation
from app.explain.conservation import (
    CLASS,
    EMBEDDED,
    INNER,
    INPUTS,
    SOFTMAX,
    Conservation,
    DepthStep,
)
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP, LRP_QVIT
from lrp.propagation.trace import Trace
from tests import models


def explained(family: str, rules=ATTN_LRP, model=None):
    model = models.build(family, torch.float64) if model is None else model
    trace = Trace(model, models.random_images(1).double(), rules)
    found = relevance(trace, 1)
    return trace, found, conservation.conservation(trace, found)


@pytest.mark.parametrize("family", list(models.SMALL))
def test_what_is_left_is_what_the_tokens_hold(family: str) -> None:
    trace, found, kept = explained(family)
    start = float(found.start[0])
    assert list(kept.left) == [CLASS, *reversed(trace.blocks), "pixels"]
    assert kept.left[CLASS] == 1
    for block in trace.blocks:
        assert kept.left[block] == pytest.approx(float(found.blocks[block].sum()) / start)
    assert kept.left["pixels"] == pytest.approx(float(found.pixels.sum()) / start)


def takers(kept: Conservation) -> Counter[str]:
    """Sum up what took which share of the start, over all steps."""
    total: Counter[str] = Counter()
    for step in kept.steps:
        total.update(step.parts)
    return total


@pytest.mark.parametrize("family", list(models.SMALL))
@pytest.mark.parametrize("rules", [ATTN_LRP, LRP_QVIT], ids=lambda r: r.name)
def test_the_parts_of_all_steps_account_for_everything(family: str, rules) -> None:
    _, _, kept = explained(family, rules)
    for step in kept.steps:
        assert sum(step.parts.values()) == pytest.approx(step.lost)
        assert step.lost == pytest.approx(kept.left[step.upper] - kept.left[step.lower])
    lost = sum(takers(kept).values())
    assert lost == pytest.approx(1 - kept.left["pixels"])


def silenced(*endings: str):
    """Build a ViT whose parameters of these names are 0."""
    model = models.build("vit", torch.float64)
    for name, parameter in model.named_parameters():
        if name.endswith(endings):
            parameter.data.zero_()
    return model


@pytest.mark.parametrize(("endings", "part"), [(("qkv.bias",), INPUTS), (("mlp.fc1.bias",), INNER)])
def test_a_bias_that_is_not_there_takes_nothing(endings: tuple[str, ...], part: str) -> None:
    assert takers(explained("vit")[2])[part] != pytest.approx(0, abs=1e-6)
    kept = explained("vit", model=silenced(*endings))[2]
    assert takers(kept)[part] == pytest.approx(0, abs=1e-7)


def test_without_any_constant_only_the_softmax_takes() -> None:
    # Taylor's softmax is no linear map of its input; everything else then hands all of it on.
    bare = silenced("bias", "pos_embed", "cls_token")
    kept = explained("vit", model=bare)[2]
    taking = {part for part, lost in takers(kept).items() if abs(lost) > 1e-7}
    assert taking <= {SOFTMAX}


def test_the_position_embedding_takes_what_it_answers_for() -> None:
    model = models.build("vit", torch.float64)
    trace, found, kept = explained("vit", model=model)
    tokens = found.blocks["blocks.0"][0] / found.start[0]
    inputs = trace.blocks["blocks.0"][0]
    constant = model.pos_embed[0, 1:] + model.patch_embed.proj.bias
    expected = (tokens[1:] / inputs[1:] * constant).sum().detach()
    last = kept.steps[-1]
    assert last.parts[EMBEDDED] == pytest.approx(float(expected), rel=1e-4)
    assert last.parts[conservation.TOKENS] == pytest.approx(float(tokens[0].sum()), rel=1e-6)


def test_swins_position_bias_is_named() -> None:
    assert conservation.POSITION_BIAS in takers(explained("swin")[2])
    assert SOFTMAX in takers(explained("vit")[2])


def made(**lost: float) -> Conservation:
    """Make a model of two blocks that loses so much at each step."""
    places = [CLASS, "blocks.1", "blocks.0", "pixels"]
    left, steps = {CLASS: 1.0}, []
    for upper, lower, (part, share) in zip(places, places[1:], lost.items(), strict=False):
        left[lower] = left[upper] - share
        steps.append(DepthStep(upper, lower, share, {part: share, "nothing": 0.0}))
    return Conservation(left, tuple(steps))


def test_the_sentence_names_the_greatest_loss_and_gain() -> None:
    said = conservation.sentence(made(head=0.1, mlp=0.4, embedding=-0.2))
    assert "**50 %** enters blocks.0" in said
    assert "**70 %** reaches the pixels" in said
    assert "Most is lost in blocks.0: 40 points, 40 to mlp." in said
    assert (
        "Most is gained between blocks.0 and the pixels: 20 points, 20 through embedding." in said
    )
    said = conservation.sentence(made(head=0.3, mlp=0.0, embedding=0.1))
    assert "lost between the class and the input of blocks.1: 30 points, 30 to head." in said
    assert "gained" not in said


def test_a_model_that_loses_nothing_is_said_to() -> None:
    assert "Nothing is lost" in conservation.sentence(made(head=0.0, mlp=0.001, embedding=-0.001))
