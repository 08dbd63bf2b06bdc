"""Families of timm beside ViT, DeiT and Swin: no code of their own, and what each conserves."""

import functools
from dataclasses import replace

import pytest
import timm
import torch

from lrp.engine.interpreter import UnsupportedOperation
from lrp.engine.layers import list_layers
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP, ATTN_LRP_GAMMA, LRP_QVIT, PRESETS
from lrp.propagation.trace import Trace
from tests.models import FAMILIES, SIZE, build, random_images, without_constants

IMAGES = 2


@functools.cache
def traced(family, rules, constants=True):
    """Trace a small model, its biases, position tables and prefix tokens zeroed on demand."""
    model = build(family, torch.float64)
    trace = Trace(
        model if constants else without_constants(model), random_images(IMAGES).double(), rules
    )
    return trace, relevance(trace)


def total(values):
    return values.reshape(IMAGES, -1).sum(1)


def sums(found):
    """The sum of relevance at each block's input, as a share of its start: (blocks, B)."""
    return torch.stack([total(tokens) / found.start for tokens in found.blocks.values()])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_is_timms_and_every_layer_has_finite_relevance(family, preset):
    trace, found = traced(family, PRESETS[preset])
    torch.testing.assert_close(trace.logits.detach(), trace.model(trace.images).detach())
    assert list(found.layers) == [layer.name for layer in list_layers(trace.model, SIZE)]
    everything = [found.pixels, *found.blocks.values(), *sum(found.layers.values(), ())]
    assert all(torch.isfinite(values).all() for values in everything)
    assert all(any(r.any() for r in operands) for operands in found.layers.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_lrp_qvit_conserves_relevance_at_every_block(family):
    """Biases take none.

    CaiT's class token, a constant that meets the patches late, takes some. z-plus loses what has
    no positive contribution: of few inputs, in PiT's depthwise pooling and over CaiT's heads.
    """
    found = sums(traced(family, LRP_QVIT)[1])
    kept = found[-1] if family == "cait" else torch.ones(IMAGES, dtype=torch.float64)
    bound = 0.06 if family in ("cait", "pit") else 1e-3
    torch.testing.assert_close(found, kept.expand_as(found), rtol=bound, atol=0)


PADDED = 28  # pixels: 14 by 14 tokens, and 7 by 7 after merging, where windows have 4 by 4


@functools.cache
def padded(rules, constants=True):
    """Trace a Swin whose windows do not fit its tokens, so that timm fills them up with zeros."""
    model = build("swin", torch.float64, size=PADDED)
    images = random_images(IMAGES, (3, PADDED, PADDED)).double()
    trace = Trace(model if constants else without_constants(model), images, rules)
    return trace, relevance(trace)


def on_padding(found, name, block):
    """The relevance that queries, keys and values of filled-up tokens get: (B,)."""
    height, width = found.blocks[name].shape[1:3]
    size = block.window_size[0]
    fill = torch.ones(-(-height // size) * size, -(-width // size) * size, dtype=torch.bool)
    fill[:height, :width] = False
    windows = fill.unfold(0, size, size).unfold(1, size, size).flatten(2).flatten(0, 1)
    query, key = found.layers[f"{name}.attn.matmul1"]  # (B * windows, heads, n, d) and (..., d, n)
    _, value = found.layers[f"{name}.attn.matmul2"]
    tokens = query.sum((1, 3)) + key.sum((1, 2)) + value.sum((1, 3))
    return (tokens.unflatten(0, (IMAGES, -1)) * windows).sum((1, 2))


def test_lrp_qvit_loses_in_padded_windows_what_the_padding_gets():
    """A filled-up token is 0 before its bias makes a key and a value of it: no input takes it."""
    trace, found = padded(LRP_QVIT)
    lost = torch.zeros(IMAGES, dtype=torch.float64)
    for name, tokens in reversed(found.blocks.items()):
        lost += on_padding(found, name, trace.model.get_submodule(name)) / found.start
        kept = total(tokens) / found.start
        torch.testing.assert_close(kept + lost, torch.ones_like(kept), rtol=0, atol=1e-3)
    assert (lost > 5e-3).all() and (lost < 0.02).all()  # more than the bound of other families


@pytest.mark.parametrize("rules", [ATTN_LRP, ATTN_LRP_GAMMA], ids=lambda rules: rules.name)
def test_attn_lrp_conserves_relevance_in_padded_windows_too(rules):
    found = sums(padded(replace(rules, softmax="constant"), constants=False)[1])
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rules", [ATTN_LRP, ATTN_LRP_GAMMA], ids=lambda rules: rules.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_attn_lrp_conserves_relevance_where_nothing_is_added_and_attention_is_constant(
    family, rules
):
    found = sums(traced(family, replace(rules, softmax="constant"), constants=False)[1])
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-6)


# SigLIP's pooling has a constant query, so its scores are no product of two activations.
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"siglip"}))
def test_without_constants_attn_lrp_loses_what_its_softmax_loses(family):
    """The sum at a block, and all that went missing between attention and scores above it."""
    trace, found = traced(family, ATTN_LRP, constants=False)
    below: set[int] = set()
    for block, tokens in found.blocks.items():
        if id(trace.blocks[block]) in below:  # CaiT's class attention blocks share their input
            continue
        below.add(id(trace.blocks[block]))
        above = list(found.blocks)[list(found.blocks).index(block) :]
        lost = sum(_lost(found, name) for name in found.layers if _in(name, above))
        torch.testing.assert_close(total(tokens) + lost, found.start, rtol=1e-5, atol=1e-7)


def _in(product, blocks):
    return product.endswith("matmul2") and any(product.startswith(f"{b}.") for b in blocks)


def _lost(found, product):
    attention = found.layers[product][0]
    queries, keys = found.layers[product[:-1] + "1"]
    return total(attention) - total(queries) - total(keys)


class _Unrotated(Trace):
    """Also keeps the queries before they are rotated."""

    def enter(self, name, module, inputs):
        if name == "blocks.0.attn.q_norm":
            self.queries = inputs[0]
        super().enter(name, module, inputs)


def test_a_rotation_leaves_relevance_within_the_pairs_it_turns():
    model, images = build("eva02", torch.float64), random_images(IMAGES).double()
    trace = _Unrotated(model, images, LRP_QVIT)
    after = relevance(trace, 0).layers["blocks.0.attn.matmul1"][0]
    start = torch.autograd.grad(trace.logits[:, 0].sum(), trace.queries, retain_graph=True)[0]
    before = (trace.queries * start).detach() / trace.logits[:, 0].reshape(-1, 1, 1, 1).detach()
    pairs = [r.unflatten(-1, (-1, 2)).sum(-1) for r in (before, after)]
    torch.testing.assert_close(*pairs)
    assert not torch.allclose(before, after)


def test_both_heads_of_a_distilled_model_explain_their_half_of_the_logit():
    trace, found = traced("deit", ATTN_LRP, constants=False)
    tokens = trace.model.forward_features(trace.images)  # class token, distillation token, patches
    for index, name in enumerate(("head", "head_dist")):
        logits = getattr(trace.model, name)(tokens[:, index])
        own = logits.gather(1, found.target[:, None]).squeeze(1)
        torch.testing.assert_close(total(found.layers[name][0]), own.detach() / 2)


@pytest.mark.parametrize(
    ("name", "kwargs", "operation"),
    [
        ("xcit_nano_12_p8_224", {"depth": 1, "embed_dim": 32, "num_heads": 2}, "'batch_norm'"),
        ("convit_tiny", {"patch_size": 8, "depth": 1}, "'div_' in blocks.0.attn"),
        ("samvit_base_patch16_224", {**FAMILIES["deit3"][1]}, "'einsum' in blocks.0.attn"),
        ("vit_dwee_patch16_reg1_gap_256", {**FAMILIES["deit3"][1]}, "'sub' in blocks.0.attn"),
        ("vit_tiny_r_s16_p8_224", {**FAMILIES["deit3"][1]}, "'group_norm' in patch_embed"),
    ],
)
def test_a_family_that_does_more_is_refused_by_the_name_of_what_it_does(name, kwargs, operation):
    model = timm.create_model(name, img_size=32, **kwargs).eval().requires_grad_(False)
    for rules in PRESETS.values():
        with pytest.raises(UnsupportedOperation, match=f"no relevance rule for {operation}"):
            Trace(model, random_images(1), rules)
