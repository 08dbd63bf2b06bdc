import threading

import pytest
import timm
import torch

from lrp.interpreter import Interpreter, UnsupportedOperation
from lrp.rules import ATTN_LRP, LRP_QVIT
from lrp.trace import Trace


def test_interpreted_forward_equals_timms_own(model, images):
    expected = model(images)
    torch.testing.assert_close(Interpreter(model).run(images), expected, rtol=1e-5, atol=1e-6)
    for rules in (ATTN_LRP, LRP_QVIT):
        logits = Trace(model, images, rules).logits
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)


def test_the_model_is_bit_identical_before_and_after(model, images):
    before, weights = model(images), {n: p.clone() for n, p in model.named_parameters()}
    Trace(model, images, LRP_QVIT)
    assert torch.equal(model(images), before)
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())


def test_threads_sharing_a_model_do_not_mix_their_layers(model, images):
    expected = list(Trace(model, images[:1]).operands)
    found, errors = [], []

    def work():
        try:
            found.extend(list(Trace(model, images[:1]).operands) for _ in range(5))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert found == [expected] * 20


def test_an_error_in_the_model_leaves_no_name_behind(model, images):
    with pytest.raises(AssertionError):
        Interpreter(model).run(images[:, :, :30])
    interpreter = Interpreter(model)
    assert interpreter.scope.current == ""
    assert next(iter(Trace(model, images).operands)) == "patch_embed.proj"


def test_an_operation_without_a_rule_is_named_with_its_layer(model, images):
    model.norm = timm.layers.create_norm_act.nn.Softsign()
    with pytest.raises(UnsupportedOperation, match=r"no relevance rule for '\w+' in norm"):
        Trace(model, images)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("beit_base_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
        ("deit3_small_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
        ("cait_xxs24_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
        ("vit_small_patch14_reg4_dinov2", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
        ("swinv2_tiny_window8_256", {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4)}),
        ("eva02_tiny_patch14_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
    ],
)
def test_other_families_run_without_code_of_their_own(name, kwargs):
    torch.manual_seed(0)
    patch = timm.create_model(name, num_classes=5).patch_embed.patch_size[0]
    model = timm.create_model(name, img_size=8 * patch, num_classes=5, **kwargs)
    model.eval().requires_grad_(False)
    images = torch.randn(2, 3, 8 * patch, 8 * patch)
    trace = Trace(model, images, LRP_QVIT)
    torch.testing.assert_close(trace.logits, model(images), rtol=1e-4, atol=1e-5)
