"""What a link says of widgets that are bound to the address: read, and junk is the default."""

from collections.abc import Callable
from functools import partial

import pytest
from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
METHODS = {"view": "Methods side by side", "methods": ["AttnLRP", "Saliency"]}
DEPTH = {"view": "Through depth", "layer": "blocks.1.attn.matmul2"}
DEIT, SHOWS = {"model": "digits-deit"}, ("Signed", "For only")
# The page, what else the link says; then by parameter a text, its value, and the default.
VIEWS: dict[str, tuple[str, dict, dict[str, tuple[object, object, object]]]] = {
    "map": (
        "explain",
        {},
        {
            "model": ("digits-deit", "digits-deit", "digits-vit"),
            "rules": ("LRP-QViT", "lrp-qvit", "attn-lrp"),
            "show": (SHOWS[1], SHOWS[1], SHOWS[0]),
            "divide": ("Class | class", "Class | class", "Picture | map"),
        },
    ),
    "depth": (
        "explain",
        DEIT | DEPTH,
        {
            "view": ("Through depth", "Through depth", "Map"),
            "heads": ("As attention", "As attention", "In the image"),
        },
    ),
    "methods": (
        "explain",
        DEIT | METHODS,
        {
            "methods": (
                ["Saliency", "Attention rollout"],
                ["saliency", "rollout"],
                ["attn-lrp", "gradient-attention", "grad-cam", "integrated-gradients"],
            ),
            "left": ("Saliency", "saliency", "attn-lrp"),
            "right": ("Attention rollout", "rollout", "saliency"),
            "faithfulness": ("true", True, False),
        },
    ),
    "budget": (
        "budget",
        {"model": "digits-swin"},
        {
            "score_rules": ("AttnLRP", "AttnLRP", "LRP-QViT"),
            "score_statistic": ("Mean of what speaks for", "mean-positive", "positive-sum"),
        },
    ),
    "layers": ("layers", {}, {"layers": ("Lesson", "Lesson", "One layer")}),
}


def values(app: AppTest, parameters: set[str]) -> dict[str, object]:
    kinds = ("selectbox", "multiselect", "toggle", "button_group")
    widgets = [widget for kind in kinds for widget in app.get(kind)]
    return {widget.key: widget.value for widget in widgets if widget.key in parameters}


@pytest.mark.parametrize("name", VIEWS)
def test_a_link_sets_the_widgets_that_are_bound_to_it(
    name: str, open_page: Open, run_until: RunUntil, nothing_goes_on: None
) -> None:
    page, others, bound = VIEWS[name]
    app = open_page(page, **others | {key: text for key, (text, _, _) in bound.items()})
    expected = {key: value for key, (_, value, _) in bound.items()}
    run_until(app, lambda: len(values(app, set(bound))) == len(bound))
    assert values(app, set(expected)) == expected


@pytest.mark.parametrize("text", [None, "junk", ""])
@pytest.mark.parametrize("name", VIEWS)
def test_junk_in_a_link_leaves_the_widgets_at_their_defaults(
    name: str, text: str | None, open_page: Open, run_until: RunUntil, nothing_goes_on: None
) -> None:
    page, others, bound = VIEWS[name]
    for parameter, (_, _, default) in bound.items():
        junk = {} if text is None else {parameter: text}
        kept = {key: value for key, value in others.items() if key != parameter}
        app = open_page(page, **kept | junk)
        run_until(app, partial(values, app, {parameter}))
        options = [default] if text != "" else [default, None, []]  # "" may choose nothing
        assert values(app, {parameter})[parameter] in options
