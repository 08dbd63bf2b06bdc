"""What an attention is follows from what runs in it, not from what a model calls it."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

from lrp.engine.layers import list_layers
from lrp.maps.places import head_maps, layer_map
from lrp.methods.rollout import attention_rollout, rolls_out, transformer_attribution
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP, ATTN_LRP_GAMMA, LRP_QVIT
from lrp.propagation.trace import Trace
from quant.allocation.objectives import by_sensitivity
from quant.analysis.sensitivity import Sensitivity
from tests.models import FAMILIES, SIZE, build, random_images

NEW = {"attn": "mixer", "attns": "mixers", "attn_pool": "pooling"}
# Different in every place, so that a layer under a wrong one shows.
GAMMAS = replace(ATTN_LRP_GAMMA, gamma=0.4, gamma_attention=0.9, gamma_convolution=0.1)


def renamed(family):
    """A model whose attentions are called otherwise: every block is of a subclass of timm's."""
    model = build(family)
    for module in list(model.modules()):
        names = [name for name in module._modules if name in NEW]
        if not names:
            continue
        module._modules = OrderedDict((NEW.get(n, n), m) for n, m in module._modules.items())
        if not isinstance(module, nn.Sequential):  # timm's own forward finds it by the old name
            read = {n: property(lambda self, n=n: self._modules[NEW[n]]) for n in names}
            module.__class__ = type("Renamed", (type(module),), read)
    assert not any(part in NEW for name, _ in model.named_modules() for part in name.split("."))
    return model


def back(name):
    parts = {new: old for old, new in NEW.items()}
    return ".".join(parts.get(part, part) for part in name.split("."))


def traced(model, rules):
    trace = Trace(model, random_images(2), rules)
    return trace, relevance(trace, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_a_renamed_attention_are_what_they_were(family):
    found, wanted = (list_layers(model, SIZE) for model in (renamed(family), build(family)))
    assert [back(layer.name) for layer in found] == [layer.name for layer in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert (one.stage, back(one.attention)) == (other.stage, other.attention)
        assert one.is_product == other.is_product == (one.kind == "matmul")


@pytest.mark.parametrize("family", FAMILIES)
def test_in_timms_models_the_attentions_are_those_called_so(family):
    for layer in list_layers(build(family), SIZE):
        assert bool(layer.attention) == ("attn" in layer.name), layer
        if layer.attention and not layer.attention.startswith("attn_pool"):
            assert layer.attention.rpartition(".")[2] == "attn"


@pytest.mark.parametrize("rules", [GAMMAS, LRP_QVIT], ids=["gamma", "identity"])
@pytest.mark.parametrize("family", ["vit", "swin", "relative", "beit", "eva02", "siglip", "cait"])
def test_gamma_and_additions_follow_the_structure(family, rules):
    found, wanted = (traced(model, rules)[1] for model in (renamed(family), build(family)))
    assert torch.equal(found.pixels, wanted.pixels)
    for (name, one), (other_name, other) in zip(
        found.layers.items(), wanted.layers.items(), strict=True
    ):
        assert back(name) == other_name
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True)), name


@pytest.mark.parametrize("family", ["vit", "swin", "cait"])
def test_maps_of_layers_follow_the_structure(family):
    pairs = [traced(model, ATTN_LRP) for model in (renamed(family), build(family))]
    layers = [pair[0].layers.values() for pair in pairs]
    for one, other in zip(*layers, strict=True):
        for maps in (layer_map, head_maps):
            found, wanted = (
                maps(*pair, layer) for pair, layer in zip(pairs, (one, other), strict=True)
            )
            assert (found is None) == (wanted is None)
            assert found is None or torch.equal(found, wanted), one.name


@pytest.mark.parametrize("family", ["vit", "beit", "relative", "average", "parallel", "siglip"])
def test_rollouts_follow_the_structure(family):
    model, original = renamed(family), build(family)
    assert rolls_out(model) == rolls_out(original) == (family not in ("parallel", "siglip"))
    if rolls_out(model):
        for maps in (attention_rollout, transformer_attribution):
            assert torch.equal(maps(model, random_images(2)), maps(original, random_images(2)))


@pytest.mark.parametrize("family", ["vit", "swin", "cait"])
def test_losses_are_drawn_to_the_same_kinds(family):
    found = []
    for model in (renamed(family), build(family)):
        names = tuple(layer.name for layer in list_layers(model, SIZE))
        loss = torch.rand(len(names), 3, generator=torch.Generator().manual_seed(0)).numpy()
        found.append(by_sensitivity(Sensitivity(names, (2, 4, 8), loss, loss, "estimated", 1)))
    assert (found[0].weight == found[1].weight).all()
    assert (found[0].weight != loss).any()


class Core(nn.Module):
    """Multiplies queries, keys and values, and has no weights."""

    def forward(self, q, k, v):
        return nn.functional.scaled_dot_product_attention(q, k, v)


class Mixer(nn.Module):
    """An attention whose products run in a module of their own."""

    def __init__(self, attn):
        super().__init__()
        self.heads, self.taken, self.given, self.core = attn.num_heads, attn.qkv, attn.proj, Core()

    def forward(self, x, attn_mask=None, **_):
        parts = self.taken(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.given(self.core(*parts).transpose(1, 2).flatten(2))


def test_products_in_a_module_without_weights_are_of_the_attention_around_it():
    model = build("vit")
    wanted = traced(model, GAMMAS)[1]
    model = build("vit")
    for block in model.blocks:
        block.attn = Mixer(block.attn)
    trace, found = traced(model, GAMMAS)
    inside = {la.name: la.attention for la in trace.layers.values() if la.block == "blocks.1"}
    assert [name for name, attention in inside.items() if attention == "blocks.1.attn"] == [
        f"blocks.1.attn.{part}" for part in ("taken", "core.matmul1", "core.matmul2", "given")
    ]
    torch.testing.assert_close(found.pixels, wanted.pixels)


class Whole(nn.Module):
    """A block that attends itself."""

    def __init__(self, block):
        super().__init__()
        self.qkv, self.proj, self.fc = block.attn.qkv, block.attn.proj, block.mlp.fc1

    def forward(self, x, *_, **__):
        q, k, v = self.qkv(x).chunk(3, -1)
        return x + self.proj((q @ k.mT).softmax(-1) @ v) + self.fc(x)[..., :32]


def test_a_block_as_a_whole_is_no_attention():
    model = build("vit")
    model.blocks = nn.Sequential(*(Whole(block) for block in model.blocks))
    layers = list_layers(model, SIZE)
    assert [la.name for la in layers if la.is_product][:2] == [
        "blocks.0.matmul1",
        "blocks.0.matmul2",
    ]
    assert not any(layer.attention for layer in layers)
    assert not rolls_out(model)


def test_layers_are_listed_by_one_run_of_a_model():
    model, runs = build("vit"), []
    model.register_forward_hook(lambda *_: runs.append(1))
    wanted = list_layers(model, SIZE)
    for rules in (ATTN_LRP, LRP_QVIT):
        Trace(model, random_images(), rules)
    assert list_layers(model, SIZE) == wanted
    assert len(runs) == 3
    smaller = list_layers(build("swin"), (3, 32, 32))
    assert smaller == list_layers(build("swin"), (3, 32, 32))
