import pytest
import timm
import torch

from lrp.methods.rollout import (
    attention_rollout,
    gradient_attention,
    rolls_out,
    transformer_attribution,
)
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import LRP_QVIT
from lrp.propagation.trace import Trace
from tests.models import SIZE, SMALL, build, random_images

SIDE = SIZE[1] // 8
TARGET = torch.tensor([1, 4, 0])


def small(family, **kwargs):
    """A small ViT, DeiT or other of timm, in float64 and with its attention unfused."""
    if family in SMALL:
        model = build(family, torch.float64)
    else:
        torch.manual_seed(1)
        options = {"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2} | kwargs
        model = timm.create_model(family, img_size=SIZE[1], num_classes=5, **options)
        model = model.eval().requires_grad_(False).double()
    for block in model.blocks:
        block.attn.fused_attn = False
    return model


def attention(model, images, target):
    """Attention of each block and its gradient, by hooks on timm's own modules: [(B, h, N, N)]."""
    maps = []
    hooks = [
        block.attn.attn_drop.register_forward_hook(lambda m, i, o: maps.append(o))
        for block in model.blocks
    ]
    logits = model(images.requires_grad_())
    for hook in hooks:
        hook.remove()
    logit = sum(logits[i, k] for i, k in enumerate(target))
    return [a.detach() for a in maps], torch.autograd.grad(logit, maps)


def rolled(steps, rows):
    """Multiply whole matrices up, first block first, and average `rows`: (B, h, w)."""
    product = torch.eye(steps[0].shape[-1], dtype=torch.float64)
    for step in steps:
        product = torch.matmul(step, product)
    return product[:, rows, -SIDE * SIDE :].mean(1).reshape(-1, SIDE, SIDE)


# which tokens the head of each reads: the class token, class and distillation, all patches
FAMILIES = [
    ("vit", {}, [0]),
    ("deit", {}, [0, 1]),
    ("vit_small_patch14_reg4_dinov2", {"patch_size": 8}, [0]),
    ("vit_wee_patch16_reg1_gap_256", {}, list(range(1, 17))),
    ("vit_relpos_small_patch16_224", {}, list(range(16))),
    ("beit_base_patch16_224", {}, list(range(1, 17))),
    ("eva02_tiny_patch14_224", {}, list(range(1, 17))),
]
families = pytest.mark.parametrize(
    ("family", "kwargs", "rows"), FAMILIES, ids=[name for name, _, _ in FAMILIES]
)


@families
def test_rollout_averages_heads_and_multiplies(family, kwargs, rows):
    model, images = small(family, **kwargs), random_images().double()
    found = attention_rollout(model, images)
    maps, _ = attention(model, images, TARGET)
    one = torch.eye(maps[0].shape[-1], dtype=torch.float64)
    steps = [(a.mean(1) + one) / (a.mean(1) + one).sum(-1, keepdim=True) for a in maps]
    torch.testing.assert_close(found, rolled(steps, rows))
    assert found.min() >= 0
    assert (found.sum((1, 2)) <= 1 + 1e-9).all()


@families
def test_gradient_attention_updates_a_relevancy_matrix(family, kwargs, rows):
    model, images = small(family, **kwargs), random_images().double()
    found = gradient_attention(model, images, TARGET)
    maps, gradients = attention(model, images, TARGET)
    steps = []
    for a, g in zip(maps, gradients, strict=True):
        heads = [torch.relu(g[:, h] * a[:, h]) for h in range(a.shape[1])]
        steps.append(torch.eye(a.shape[-1], dtype=torch.float64) + sum(heads) / len(heads))
    torch.testing.assert_close(found, rolled(steps, rows))
    assert found.min() >= 0


@pytest.mark.parametrize(("family", "rows"), [("vit", [0]), ("deit", [0, 1])])
def test_transformer_attribution_weights_relevance_by_gradients(family, rows):
    model, images = small(family), random_images().double()
    found = transformer_attribution(model, images, TARGET)
    _, gradients = attention(model, images, TARGET)
    shares = relevance(Trace(model, images, LRP_QVIT), TARGET)
    steps = []
    for index, gradient in enumerate(gradients):
        cam = torch.relu(gradient * shares.layers[f"blocks.{index}.attn.matmul2"][0]).mean(1)
        steps.append(cam + torch.eye(cam.shape[-1], dtype=torch.float64))
    torch.testing.assert_close(found, rolled(steps, rows))


def test_rollout_of_even_attention_sees_every_patch_alike(images):
    model = build("vit")
    for block in model.blocks:
        block.attn.qkv.weight[: 2 * 32] = 0  # q and k that do not depend on their token
        block.attn.qkv.bias[: 2 * 32] = 0
    found = attention_rollout(model, images)
    # a token keeps half of itself in each of 2 blocks, the rest is spread over all 17
    torch.testing.assert_close(found, torch.full((3, 4, 4), (1 - 0.5**2) / 17))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("swin_tiny_patch4_window7_224", {}),  # attends within windows
        ("cait_xxs24_224", {"img_size": 224}),  # its class token comes late
        ("vit_base_patch16_siglip_224", {}),  # an attention pool reads its tokens
        ("vit_dwee_patch16_reg1_gap_256", {}),  # subtracts two attention maps
        ("resnet18", None),
    ],
)
def test_models_that_cannot_be_rolled_out_are_refused(name, kwargs):
    size = {} if kwargs is None else {"depth": 1}
    if "swin" in name:
        size = {"depths": (1, 1)}
    model = timm.create_model(name, **size).eval().requires_grad_(False)
    assert not rolls_out(model)
    for maps in (attention_rollout, gradient_attention, transformer_attribution):
        target = () if maps is attention_rollout else (torch.zeros(1, dtype=torch.long),)
        with pytest.raises(ValueError, match=f"{type(model).__name__} has no map .* use a ViT"):
            maps(model, torch.zeros(1, 3, 224, 224), *target)


def test_an_attention_whose_output_nothing_reads_changes_nothing(images):
    class Ignored(torch.nn.Module):
        def __init__(self, attention: torch.nn.Module) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: torch.Tensor, **given: object) -> torch.Tensor:
            return x + 0 * self.attention(x, **given).detach()

    model = build("vit")
    model.blocks[0].attn = Ignored(model.blocks[0].attn)
    found = gradient_attention(model, images, torch.zeros(len(images), dtype=torch.long))
    assert torch.isfinite(found).all() and found.abs().max() > 0
