"""Contribution scores: how much each layer carries, and how sure that is."""

from __future__ import annotations

import streamlit as st

from app import charts, compute, job_panel, state, units
from app.appearance import dark
from app.sidebar import Selected
from assets.data import ImageSet, has_digits
from assets.models import LoadedModel
from lrp.scores import ContributionScores

RULES = {"LRP-QViT": "LRP_QVIT", "AttnLRP": "ATTN_LRP"}
COUNTS = (8, 16, 32, 64, 128, 256)


def settings(selected: Selected) -> tuple[str, ImageSet]:
    """Let the user choose the rules and how many images to score on."""
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        label = st.segmented_control(
            "Relevance rules",
            list(RULES),
            default="LRP-QViT",
            required=True,
            key=state.SCORE_RULES,
            bind="query-params",
            help="By which rules the layers' relevance is propagated.",
        )
        most = len(compute.calibration_set(selected.loaded, selected.folder, COUNTS[-1]))
        counts = [c for c in COUNTS if c < most] + [most]
        count = st.select_slider(
            "Calibration images",
            counts,
            value=min(compute.CALIBRATION_IMAGES, most),
            key=state.SCORE_IMAGES,
            persist_state="session",
            width=320,
            help="More images give steadier scores and take longer. Images already scored are "
            "not scored again.",
        )
    images = compute.calibration_set(selected.loaded, selected.folder, count)
    return RULES[label or "LRP-QViT"], images


def chosen(selected: Selected) -> tuple[str, ImageSet]:
    """Return the rules and images chosen on the budget page, from another page."""
    label = st.session_state.get(state.SCORE_RULES) or "LRP-QViT"
    count = st.session_state.get(state.SCORE_IMAGES) or compute.CALIBRATION_IMAGES
    images = compute.calibration_set(selected.loaded, selected.folder, count)
    return RULES.get(label, "LRP_QVIT"), images


def obtain(selected: Selected, rules: str, images: ImageSet) -> ContributionScores | None:
    """Return the scores, or see to it that they come: with a job, or a button that starts one."""
    scores = compute.scores_of(selected.loaded, images, rules)
    if scores is not None:
        return scores
    job = compute.jobs().find(compute.score_key(selected.loaded, images, rules))
    if job is None and has_digits(selected.loaded):  # seconds: not worth a question
        job = compute.start_scores(selected.loaded, images, rules)
    if job is not None:
        job_panel.follow(job)
    if job is None or not job.live:
        st.button(
            f"Score the layers on {len(images)} images",
            icon=":material/play_arrow:",
            type="primary",
            on_click=_start,
            args=(selected.loaded, images, rules),
        )
    return None


def _start(loaded: LoadedModel, images: ImageSet, rules: str) -> None:
    compute.start_scores(loaded, images, rules)


def show(selected: Selected, scores: ContributionScores) -> None:
    """Show the scores with their spread."""
    layers = compute.layers_of(selected.loaded)
    mean = scores.mean
    table = charts.score_table(layers, mean, scores.sd, state.layer())
    best = max(mean, key=mean.__getitem__)
    count = len(scores.per_image)
    st.caption(
        f"Each layer's share of relevance, averaged over {count} images; the thin lines "
        f"are one standard deviation between images. **{best}** carries most: "
        f"{units.share(mean[best])}. Click a bar to choose its layer on every page."
    )
    st.vega_lite_chart(
        table,
        charts.score_spec(layers, dark()),
        key=state.SCORE_CHART,
        on_select=_heard,
        alt=f"share of relevance by layer, highest for {best}",
    )
    _chosen_layer(scores)


def _heard() -> None:
    picked = st.session_state[state.SCORE_CHART].selection.get(charts.PICK) or []
    if picked:
        state.choose_layer(picked[0]["layer"])


def _chosen_layer(scores: ContributionScores) -> None:
    name, mean = state.layer(), scores.mean
    if name not in mean:
        return
    spread = scores.sd[name]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{name}** carries {units.share(mean[name], 2)} ± {units.share(spread, 2)}",
            width="content",
        )
        st.page_link(
            "app/views/explain.py", label="Look into this layer", icon=":material/arrow_forward:"
        )
