"""Rules are data: presets by name, junk refused."""

import pytest

from lrp.propagation.rules import PRESETS, Rules, preset


def test_presets_are_found_by_name_in_any_spelling():
    assert set(PRESETS) == {"ATTN_LRP", "ATTN_LRP_GAMMA", "LRP_QVIT", "CHEFER"}
    for spelled in ("lrp-qvit", "LRP_QVIT", "Lrp-Qvit"):
        assert preset(spelled) is PRESETS["LRP_QVIT"]
    with pytest.raises(ValueError, match="'foo' are unknown: use ATTN_LRP or ATTN_LRP_GAMMA"):
        preset("foo")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"linear": "z"}, "use epsilon or gamma or z-plus or alpha-beta"),
        ({"softmax": "hard"}, "softmax rule 'hard' is unknown"),
        ({"epsilon": -1}, "epsilon is -1: it must not be negative"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"alpha": 0.5}, "alpha is 0.5: use 1 or more"),
    ],
)
def test_a_rule_that_is_not_there_is_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        Rules("mine", **wrong)
