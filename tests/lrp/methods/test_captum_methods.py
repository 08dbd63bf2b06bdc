import threading
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from lrp.methods.captum_methods import (
    _last_tokens,
    grad_cam,
    has_tokens,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    saliency,
)
from lrp.metrics.robustness import infidelity, max_sensitivity
from tests.models import build, random_images

TARGET = torch.tensor([1, 4, 0])


def seeded():
    return torch.Generator().manual_seed(0)


def chosen(model, images, target=TARGET):
    return model(images)[range(len(images)), target]


def gradients(model, images):
    """Rows of each image's Jacobian: (B, 3, H, W)."""
    rows = [torch.autograd.functional.jacobian(model, image[None])[0] for image in images]
    return torch.stack([row[k, 0] for row, k in zip(rows, TARGET, strict=True)])


def test_integrated_gradients_account_for_the_logit(model, images):
    found = integrated_gradients(model, images, TARGET)
    gained = chosen(model, images) - chosen(model, torch.zeros_like(images))
    torch.testing.assert_close(found.sum((1, 2)), gained, rtol=1e-3, atol=1e-3)


def test_integrated_gradients_are_a_mean_of_gradients_on_the_way(images):
    model, steps = build("vit"), 200
    way = ((torch.arange(steps) + 0.5) / steps)[:, None, None, None]
    for image, target, found in zip(
        images, TARGET, integrated_gradients(model, images, TARGET), strict=True
    ):
        points = (way * image).requires_grad_()
        mean = torch.autograd.grad(model(points)[:, target].sum(), points)[0].mean(0)
        torch.testing.assert_close(found, (mean * image).sum(0), rtol=1e-2, atol=1e-4)


def test_saliency_and_input_x_gradient_are_rows_of_the_jacobian(model, images):
    expected = gradients(model, images)
    torch.testing.assert_close(saliency(model, images, TARGET), expected.abs().amax(1))
    times_input = torch.einsum("bchw,bchw->bhw", expected, images)
    torch.testing.assert_close(input_x_gradient(model, images, TARGET), times_input)


def joined_swin():
    """A Swin of 32 x 32 patches: too many to cover in turn."""
    options = {"patch_size": 2, "window_size": 4, "embed_dim": 16, "depths": (1, 1)}
    name, heads = "swin_tiny_patch4_window7_224", {"num_heads": (2, 4)}
    model = timm.create_model(name, img_size=64, num_classes=5, **options, **heads)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("make", "side", "cell"),
    [
        (lambda: build("vit"), 32, 8),
        (lambda: build("deit"), 32, 8),
        (lambda: build("swin"), 32, 2),
        (joined_swin, 64, 4),
    ],
)
def test_occlusion_covers_one_cell_after_the_other(make, side, cell):
    model, images = make(), torch.randn(2, 3, side, side, generator=seeded())
    found, target = occlusion(model, images, TARGET[:2]), TARGET[:2]
    assert found.shape == (2, side // cell, side // cell)
    for row, column in [(0, 0), (1, 2), (side // cell - 1, 0), (2, side // cell - 1)]:
        covered = images.clone()
        covered[..., row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 0
        fall = chosen(model, images, target) - chosen(model, covered, target)
        torch.testing.assert_close(found[:, row, column], fall, rtol=1e-3, atol=1e-5)


def other_family(name):
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model(name, num_classes=5, **options).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "block", "side"),
    [
        (build("vit"), "blocks.1", 4),
        (build("deit"), "blocks.1", 4),
        (build("swin"), "layers.1.blocks.1", 8),
        (other_family("eva02_tiny_patch14_224"), "blocks.1", 4),
        (other_family("cait_xxs24_224"), "blocks_token_only.1", 4),
    ],
    ids=["vit", "deit", "swin", "eva02", "cait"],
)
def test_grad_cam_weights_tokens_by_their_mean_gradient(model, block, side):
    images, seen = random_images(), []

    def keep(module, inputs):
        seen.append(inputs[0])

    with model.get_submodule(block).register_forward_pre_hook(keep):
        logit = chosen(model, images.clone().requires_grad_()).sum()
    (gradient,) = torch.autograd.grad(logit, seen)
    # the last tokens are the patches, row by row, whether they lie in a line or in a square
    tokens, gradient = (t.flatten(1, -2)[:, -side * side :] for t in (seen[0], gradient))
    expected = torch.einsum("bnc,bc->bn", tokens, gradient.mean(1)).detach()
    found = grad_cam(model, images, TARGET)
    torch.testing.assert_close(found, expected.reshape(3, side, side), rtol=1e-4, atol=1e-6)


def test_grad_cam_needs_tokens(images):
    convolutional = timm.create_model("resnet18", num_classes=5).eval().requires_grad_(False)
    assert not has_tokens(convolutional)
    with pytest.raises(ValueError, match="ResNet has no tokens with a place"):
        grad_cam(convolutional, images, TARGET)


def test_grad_cam_leaves_the_model_and_other_threads_alone(model, images):
    expected, passed = model(images), []
    with _last_tokens(model, images) as layer:
        layer.register_forward_hook(lambda *_: passed.append(threading.get_ident()))
        torch.testing.assert_close(model(images), expected)
        thread = threading.Thread(target=model, args=(images,))
        thread.start()
        thread.join()
    assert torch.equal(model(images), expected)
    assert passed == [threading.get_ident()]


class Linear(nn.Module):
    """Logits that are sums over the pixels, so that contributions of cells are known."""

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(5, 3, 32, 32, generator=seeded())
        self.patch_embed = SimpleNamespace(patch_size=(8, 8))

    def forward(self, images):
        return torch.einsum("bchw,kchw->bk", images, self.weight)

    def contributions(self, images):
        return (images * self.weight[TARGET]).sum(1)

    def cells(self, images):
        return self.contributions(images).reshape(3, 4, 8, 4, 8).sum((2, 4))


def test_exact_contributions_have_no_infidelity_at_any_scale_and_size(images):
    model = Linear()
    for maps in (model.contributions(images), model.cells(images), -0.01 * model.cells(images)):
        found = infidelity(model, images, maps, TARGET, seeded())
        torch.testing.assert_close(found, torch.zeros(3), atol=0.2, rtol=0)  # of about 1e3
    others = model.cells(images).roll(1, 1)
    assert (infidelity(model, images, others, TARGET, seeded()) > 50).all()


def test_infidelity_of_no_map_is_the_mean_square_of_what_deletion_takes(images):
    model = Linear()
    found = infidelity(model, images, torch.zeros(3, 4, 4), TARGET, seeded(), samples=4000)
    cells = model.cells(images).flatten(1)  # each gone with probability 1/10, on its own
    expected = (0.1 * cells.sum(1)) ** 2 + 0.09 * (cells**2).sum(1)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


def test_infidelity_tells_the_occluded_from_the_random(images):
    model = build("vit")
    measured = occlusion(model, images, TARGET)
    drawn = torch.rand(measured.shape, generator=seeded())
    better, worse = (infidelity(model, images, m, TARGET, seeded()) for m in (measured, drawn))
    assert better.mean() < worse.mean()


def test_max_sensitivity_is_the_largest_change_among_the_shaken(images):
    seen = []

    def maps(model, pictures, target):
        assert torch.is_grad_enabled()
        seen.append((pictures, target))
        return pictures.square().sum(1) * (1 + target[:, None, None])

    found = max_sensitivity(maps, nn.Identity(), images, TARGET, seeded(), radius=0.1, samples=15)
    changes = torch.zeros(3)
    for pictures, target in seen[1:]:
        for picture, k in zip(pictures, target, strict=True):
            index = TARGET.tolist().index(int(k))
            assert (picture - images[index]).abs().max() <= 0.1
            plain, shaken = images[index].square().sum(0), picture.square().sum(0)
            change = (shaken - plain).norm() / plain.norm()
            changes[index] = max(changes[index], change)
    assert sum(len(pictures) for pictures, _ in seen[1:]) == 3 * 15
    torch.testing.assert_close(found, changes)


def test_max_sensitivity_of_a_constant_map_is_zero(images):
    def constant(model, pictures, target):
        return torch.ones(len(pictures), 4, 4)

    found = max_sensitivity(constant, nn.Identity(), images, TARGET, seeded())
    assert torch.equal(found, torch.zeros(3))
