import weakref

import pytest
import torch

from lrp.maps.heatmap import default_depth, depths
from lrp.methods.catalogue import DEFAULT, METHODS, method, suitable
from lrp.propagation.relevance import relevance
from lrp.propagation.trace import Trace
from tests.models import SIZE, SMALL, build, random_images

TARGET = torch.tensor([1, 4, 0])
ROLLED = {"transformer-attribution", "chefer-attribution", "gradient-attention", "rollout"}
UNSIGNED = {*ROLLED, "saliency", "random"}
HARDLY_SIGNED = {
    "lrp-qvit",
    "lrp-qvit-pixels",
}  # only its attention products hand on negative parts
OF_NO_CLASS = {"rollout", "random"}


# in float64, where sums in another order differ by nothing that matters
EXACT = {family: build(family, torch.float64) for family in SMALL}
every = pytest.mark.parametrize(
    ("family", "name"), [(f, name) for f, model in EXACT.items() for name in suitable(model)]
)


def test_methods_are_found_by_name():
    assert next(iter(METHODS)) == DEFAULT
    assert all(method(name) is found and found.name == name for name, found in METHODS.items())
    assert len({found.label for found in METHODS.values()}) == len(METHODS)
    assert all(found.what.endswith(".") for found in METHODS.values())
    with pytest.raises(ValueError, match=r"'lime' is unknown: use one of attn-lrp, .*random"):
        method("lime")


def test_swin_has_all_methods_but_those_that_roll_attention_out():
    assert suitable(build("vit")) == suitable(build("deit")) == tuple(METHODS)
    assert set(METHODS) - set(suitable(build("swin"))) == ROLLED


@every
def test_an_image_has_the_same_map_alone_and_among_others(family, name):
    model, images, maps = EXACT[family], random_images().double(), METHODS[name].maps
    found = maps(model, images, TARGET)
    alone = [maps(model, images[i : i + 1], TARGET[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-6, atol=1e-9)


@every
def test_maps_divide_the_image_and_have_a_sign_and_a_class_where_the_method_has(family, name):
    model, images, maps = EXACT[family], random_images().double(), METHODS[name].maps
    found, other = maps(model, images, TARGET), maps(model, images, TARGET.roll(1))
    assert found.dim() == len(found) == 3
    assert SIZE[1] % found.shape[1] == SIZE[2] % found.shape[2] == 0
    assert torch.isfinite(found).all()
    assert found.max() > 0
    assert name in HARDLY_SIGNED or (found.min() >= 0) == (name in UNSIGNED)
    assert torch.equal(found, other) == (name in OF_NO_CLASS)


@every
def test_maps_leave_no_graph_no_hook_and_an_unchanged_model(family, name):
    model, images, passed = EXACT[family], random_images().double(), []

    def watch(module, inputs, output):
        if output.requires_grad:  # autograd keeps it, and it its past, as long as a map does
            passed.append(weakref.ref(output))

    def hooks():
        return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]

    Trace(model, images)  # the first run names the modules, by hooks that stay
    before, hooked = model(images), hooks()
    watches = [m.register_forward_hook(watch) for m in model.modules()]
    found = METHODS[name].maps(model, images, TARGET)
    for handle in watches:
        handle.remove()
    assert not found.requires_grad
    assert bool(passed) == (name not in ("occlusion", "random"))
    assert [output() for output in passed if output() is not None] == []
    assert hooks() == hooked
    assert torch.equal(model(images), before)


def test_the_default_is_token_relevance_at_the_default_depth(images):
    model = build("deit")
    trace = Trace(model, images)
    found = relevance(trace, TARGET)
    tokens = found.blocks[default_depth(trace)][:, 2:].sum(2)  # without its two prefixes
    default = METHODS[DEFAULT].maps(model, images, TARGET)
    assert torch.equal(default, tokens.reshape(3, 4, 4))


def test_the_default_can_be_read_at_any_depth(images):
    model = build("swin")
    trace = Trace(model, images)
    blocks = relevance(trace, TARGET).blocks
    for depth in depths(trace)[:-1]:
        found = method(f"attn-lrp@{depth}").maps(model, images, TARGET)
        torch.testing.assert_close(found, blocks[depth].sum(-1))
    with pytest.raises(ValueError, match=r"depth 'blocks.9' has no heatmap .*: use layers.0"):
        method("attn-lrp@blocks.9").maps(model, images, TARGET)


def test_maps_to_pixels_carry_what_reaches_the_pixels(images):
    """With no bias below them, the tokens of the first block and the pixels have equal sums."""
    model = build("vit")
    model.patch_embed.proj.bias[:] = 0
    model.pos_embed[:] = 0
    trace = Trace(model, images)
    patches = relevance(trace, TARGET).blocks["blocks.0"][:, 1:].sum((1, 2))
    pixels = METHODS["attn-lrp-pixels"].maps(model, images, TARGET).sum((1, 2))
    torch.testing.assert_close(pixels, patches)


def test_random_maps_follow_from_the_image_alone(images):
    model = build("vit")
    found = METHODS["random"].maps(model, images, TARGET)
    again = METHODS["random"].maps(model, images.flip(0), TARGET)
    assert torch.equal(found, again.flip(0))
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("name", sorted(ROLLED))
def test_a_method_that_does_not_suit_says_which_models_it_needs(name, images):
    with pytest.raises(ValueError, match="use a ViT, DeiT"):
        METHODS[name].maps(build("swin"), images, TARGET)
