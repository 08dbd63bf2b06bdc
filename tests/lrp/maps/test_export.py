import json

import numpy as np
import pytest
import timm
import torch

from lrp.engine.layers import list_layers
from lrp.engine.versions import versions
from lrp.maps.export import arrays, description
from lrp.maps.places import block_map
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP, ATTN_LRP_GAMMA, LRP_QVIT, Rules
from lrp.propagation.trace import Trace
from tests.models import SIZE, build, random_images

NAMES = tuple("abcde")


def explained(model, rules: Rules = ATTN_LRP, target: int | None = None):
    trace = Trace(model, random_images(2), rules)
    return trace, relevance(trace, target)


def test_arrays_are_the_first_images_maps(model):
    trace, found = explained(model)
    made = arrays(trace, found, list_layers(model, SIZE))
    assert {"pixels", *found.blocks} <= set(made)
    assert set(made) <= {"pixels", *found.blocks, *found.layers}
    np.testing.assert_allclose(made["pixels"], found.pixels[0].sum(0), rtol=1e-5)
    for block in found.blocks:
        np.testing.assert_array_equal(made[block], block_map(trace, found, block)[0])
    assert all(values.ndim == 2 and values.dtype == np.float32 for values in made.values())


@pytest.mark.parametrize("rules", [ATTN_LRP, ATTN_LRP_GAMMA, LRP_QVIT])
def test_the_rules_can_be_had_back_from_the_file(rules):
    trace, found = explained(build("vit"), rules)
    payload = json.loads(json.dumps(description(trace, found, NAMES, "m", "w", "blocks.1")))
    assert Rules(**payload["rules"]) == rules


def test_what_was_explained_is_described():
    model = build("vit")
    trace, found = explained(model, target=2)
    payload = description(trace, found, NAMES, "some model", "its weights", "blocks.1")
    logits = model(random_images(2))[0]
    shares = logits.softmax(0)
    assert payload["model"] == "some model" and payload["weights"] == "its weights"
    assert payload["depth"] == "blocks.1"
    assert payload["target"]["class"] == 2 and payload["target"]["name"] == "c"
    assert payload["target"]["logit"] == pytest.approx(float(logits[2]), abs=1e-4)
    ranked = sorted(range(5), key=lambda k: -float(shares[k]))
    assert [entry["class"] for entry in payload["top5"]] == ranked
    assert payload["top5"][0]["probability"] == pytest.approx(float(shares.max()), abs=1e-5)


def test_sums_are_of_the_first_image_alone(model):
    trace, found = explained(model)
    alone = Trace(model, random_images(2)[:1])
    one = relevance(alone)
    payload = description(trace, found, NAMES, "m", "w", "pixels")
    assert payload["start"] == pytest.approx(float(one.start[0]), rel=1e-4)
    assert payload["pixels"]["sum"] == pytest.approx(float(one.pixels.sum()), rel=1e-3, abs=1e-4)
    for name, tokens in one.blocks.items():
        expected = pytest.approx(float(tokens.sum()), rel=1e-3, abs=1e-4)
        assert payload["blocks"][name]["sum"] == expected
    for name, operands in one.layers.items():
        expected = pytest.approx(sum(float(r.sum()) for r in operands), rel=1e-3, abs=1e-4)
        assert payload["layers"][name]["sum"] == expected
    shares = [entry["contribution"] for entry in payload["layers"].values()]
    assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_versions_name_what_computed_it(repository):
    found = versions()
    assert f'version = "{found["bitlens"]}"' in (repository / "pyproject.toml").read_text()
    assert found["torch"] == torch.__version__ and found["timm"] == timm.__version__
    assert found["python"].startswith("3.")
