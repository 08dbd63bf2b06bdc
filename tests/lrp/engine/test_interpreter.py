import threading

import pytest
import torch

from lrp.engine.interpreter import Interpreter, UnsupportedOperation
from lrp.propagation.rules import ATTN_LRP, LRP_QVIT
from lrp.propagation.trace import Trace
from tests.models import build, random_images


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


ATTEND = torch.nn.MultiheadAttention(32, 2, batch_first=True).requires_grad_(False)


class Step(torch.nn.Module):
    """Does one thing to its input."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        return self.step(x)


@pytest.mark.parametrize(
    ("module", "operation"),
    [
        (torch.nn.Softsign(), "'\\w+' in norm"),
        (Step(lambda x: 1 / x), "'\\w+' in norm"),
        (Step(lambda x: x.clone().mul_(x)), "'mul_' in norm"),
        (Step(lambda x: x.max(1, keepdim=True)[0]), "'max' in norm"),
        (Step(lambda x: torch.hstack([x, x])), "'hstack' in norm"),
        (Step(lambda x: ATTEND(x, x, x)[0]), "'multi_head_attention_forward' in norm"),
        (torch.nn.LSTM(32, 32), "'LSTM' in norm"),
    ],
)
@pytest.mark.parametrize("rules", [ATTN_LRP, LRP_QVIT], ids=lambda rules: rules.name)
def test_an_operation_without_a_rule_is_named_with_its_layer(module, operation, rules):
    model = build("vit")
    model.norm = module.requires_grad_(False)
    with pytest.raises(UnsupportedOperation, match=f"no relevance rule for {operation}"):
        Trace(model, random_images(1), rules)
