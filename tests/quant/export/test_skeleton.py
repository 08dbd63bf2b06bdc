"""What cannot be exported is named."""

import pytest
import torch
from torch import nn

from quant.export import skeleton as module
from quant.export.skeleton import skeleton
from tests.models import SIZE


class Inverse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        means = images.mean((2, 3))
        turned = torch.linalg.svd(means[:, :, None] * means[:, None])[0]
        return self.head(turned.sum(1))


class Data(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        means = images.mean((2, 3))
        return self.head(means if float(means.sum()) > 0 else -means)


@pytest.mark.parametrize(("kind", "says"), [(Inverse, "svd"), (Data, "data-dependent")])
def test_an_operation_that_onnx_lacks_is_named_in_one_line(kind, says):
    model = kind().eval().requires_grad_(False)
    with pytest.raises(ValueError, match="ONNX has no room for this model") as found:
        skeleton(model, SIZE)
    assert says in str(found.value)
    assert "\n" not in str(found.value)


def test_a_model_too_large_for_a_file_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 30)
    with pytest.raises(ValueError, match="more than 2 GB"):
        skeleton(Data(), SIZE)
