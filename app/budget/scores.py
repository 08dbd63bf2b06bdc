"""Contribution scores: how much each layer carries, and how sure that is."""

import streamlit as st

from app.look import altair_charts, units
from app.look.appearance import dark
from app.parts.choice import layer_in_chart, one_of
from app.parts.job_panel import offered
from app.state import selection
from app.state.selection import Selected
from app.text import Markdown
from app.work import models, spending
from assets.sets.image_set import has_digits
from assets.sets.selection import Draw
from lrp.propagation.scores import STATISTICS, ContributionScores, Scoring

RULES = {"LRP-QViT": "LRP_QVIT", "AttnLRP": "ATTN_LRP", "AttnLRP, gamma": "ATTN_LRP_GAMMA"}
STEADY, SHAKY = 0.95, 0.8  # rank correlations between halves of the images: our reading
WHAT = {
    "positive-sum": "Sum of what speaks for",
    "mean-positive": "Mean of what speaks for",
    "absolute-sum": "Sum for and against",
}
COUNTS = (8, 16, 32, 64, 128, 256)


def choose(draw: Draw) -> Scoring:
    """Let the user choose the rules, the statistic and how many images to score on."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rules = one_of(
            "Relevance rules",
            list(RULES),
            selection.SCORE_RULES,
            linked=True,
            titled=True,
            help="By which rules the layers' relevance is propagated.",
        )
        statistic = st.selectbox(
            "Score",
            STATISTICS,
            key=selection.SCORE_STATISTIC,
            bind="query-params",
            format_func=lambda name: WHAT.get(name, name),
            width=200,
            help="What is taken of a layer's relevance. The sum of the positive part is our "
            "reading of LRP-QViT; its mean favours layers with narrow inputs.",
        )
        count = _count(len(draw.scorable))
    st.caption(
        "Scores take the images that calibrate first, then others; never one that is measured. "
        "In a folder of few images, measure fewer to score more."
    )
    images = draw.scorable.subset(range(count))
    return models.scoring(draw.loaded, images, RULES[rules], statistic or STATISTICS[0])


def _count(scorable: int) -> int:
    most = min(scorable, COUNTS[-1])
    counts = [c for c in COUNTS if c < most] + [most]
    return st.select_slider(
        "Images to score on",
        counts,
        value=min(models.CALIBRATION_IMAGES, most),
        key=selection.SCORE_IMAGES,
        persist_state="session",
        width=220,
        help="More images give steadier scores and take longer. Images already scored are not "
        "scored again.",
    )


def obtain(selected: Selected, scoring: Scoring) -> ContributionScores | None:
    """Return the scores, or see to it that they come: with a job, or a button that starts one."""
    wanted = spending.scores_of(scoring)
    label = f"Score the layers on {len(scoring.images)} images"
    return offered(wanted, label, has_digits(selected.loaded))


def show(selected: Selected, scores: ContributionScores) -> None:
    """Show the scores with their spread."""
    layers = models.layers_of(selected.loaded)
    mean = scores.mean
    table = altair_charts.score_table(layers, mean, scores.sd, selection.LAYER.get())
    best = max(mean, key=mean.__getitem__)
    count = len(scores.per_image)
    st.caption(
        Markdown(
            "Each layer's share of relevance, averaged over {} images; the thin lines are one "
            "standard deviation between images. **{}** carries most: {}. Click a bar to choose "
            "its layer on every page. {}"
        ).format(count, best, units.share(mean[best]), steadiness(scores))
    )
    st.vega_lite_chart(
        table,
        altair_charts.score_spec(layers, dark()),
        key=selection.SCORE_CHART,
        on_select=lambda: layer_in_chart(selection.SCORE_CHART),
        alt=f"share of relevance by layer, highest for {best}",
    )
    _layer(scores)


def steadiness(scores: ContributionScores) -> Markdown:
    """Return in words whether halves of the images rank the layers alike: if there are enough."""
    stability, count = scores.stability, len(scores.per_image)
    if stability is None:
        return Markdown(
            "From {} images it cannot be said how steady the ranks are: take 4 or more."
        ).format(count)
    verdict = (
        "these images are enough"
        if round(stability, 2) >= STEADY
        else "more images would settle the middle ranks"
        if round(stability, 2) >= SHAKY
        else "these are too few images: take more"
    )
    return Markdown(
        "Halves of the images rank the layers alike by **{:.2f}** (1 is equal): {}."
    ).format(stability, verdict)


def _layer(scores: ContributionScores) -> None:
    name, mean = selection.LAYER.get(), scores.mean
    if name not in mean:
        return
    spread = scores.sd[name]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            Markdown("**{}** carries {} ± {}").format(
                name, units.share(mean[name], 2), units.share(spread, 2)
            ),
            width="content",
        )
        st.page_link(
            "app/views/explain.py",
            label="Look into this layer",
            icon=":material/arrow_forward:",
            query_params={selection.VIEW: selection.DEPTH_VIEW, selection.LAYER.parameter: name},
        )
        st.page_link(
            "app/views/layers.py",
            label="What quantization does to it",
            icon=":material/arrow_forward:",
            query_params={selection.LAYER.parameter: name},
        )
