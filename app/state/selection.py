"""The shared selection of a session. Only this file and the `*_state` files spell session keys."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from quant.primitives.bits import LayerBits

# Keys of widgets. Those bound to the address (ids only) make links that open the same view.
MODEL, VIEW, RULES = "model", "view", "rules"
METHODS, LEFT, RIGHT, FAITHFUL = "methods", "left", "right", "faithfulness"
SHOWN, DIVIDE, HEADS = "show", "divide", "heads"
DEVICE, SOURCE, GALLERY_PAGE, UPLOAD = "device", "source", "gallery_page", "upload"
TARGET_CHOICE, COMPARE, SMOOTH = "target_choice", "compare", "smooth"
DEPTH_CHOICE, LAYER_CHOICE = "depth_choice", "layer_choice"
SCORE_RULES, SCORE_IMAGES, SCORE_STATISTIC = "score_rules", "score_images", "score_statistic"
LOCK_LAYERS, LOCK_BITS = "lock_layers", "lock_bits"
OWN_NAME, OWN_CHECKPOINT, OWN_FOLDER = "own_name", "own_checkpoint", "own_folder"
GALLERY, SCORE_CHART = "gallery", "score_chart"
PASTE, DIVIDER, METHOD_DIVIDER, BLOCKS = "paste", "divider", "method_divider", "block_strip"

# Plain entries of the session.
_IMAGE, _TARGET, _RIVAL, _OPACITY = "_image", "_target", "_rival", "_opacity"
_DEPTH, _LAYER = "_depth", "_layer"
_OWN, _PENDING, _PICTURES, _UPLOADED = "_own", "_pending", "_pictures", "_uploaded"
_DECLINED = "_declined"
_LOCKS, _CURRENT, _BITS = "_locks", "_current", "_bits"

IMAGE_PARAMETER, TARGET_PARAMETER, RIVAL_PARAMETER = "image", "class", "against"
DEPTH_PARAMETER, LAYER_PARAMETER, BITS_PARAMETER = "depth", "layer", "bits"
MAP_VIEW, METHODS_VIEW, DEPTH_VIEW = "Map", "Methods side by side", "Through depth"
MAX_UPLOADS = 8
DEFAULT_OPACITY = 0.85
LOWEST_BITS, HIGHEST_BITS, DEFAULT_BITS = 2.0, 8.0, 4.0


@dataclass(frozen=True)
class ModelChoice:
    """What to load: a bundled or timm name, perhaps with a checkpoint and a folder of images."""

    name: str
    checkpoint: str | None = None
    folder: str | None = None

    @property
    def label(self) -> str:
        return self.name if self.checkpoint is None and self.folder is None else f"{self.name} *"


@dataclass(frozen=True, eq=False)
class Selected:
    """The model in use, its images (None: only uploads), the folder they are in, and the file
    that the weights are from."""

    loaded: LoadedModel
    images: ImageSet | None
    folder: str | None
    checkpoint: str | None = None


def current() -> Selected | None:
    """Return the model and images in use, or None before any loaded."""
    return st.session_state.get(_CURRENT)


def use(selected: Selected) -> None:
    """Take a model and its images into use on all pages; another model has depths of its own."""
    former = current()
    if former is not None and former.loaded.key != selected.loaded.key:
        choose_depth(None)
        choose_layer(None)
    st.session_state[_CURRENT] = selected


def image() -> str | None:
    """Return the id of the chosen image, such as "pair-3", or None."""
    return asked(_IMAGE, IMAGE_PARAMETER)


def asked(key: str, parameter: str) -> str | None:
    """Return an entry of the session, which a link may set."""
    if key not in st.session_state:
        st.session_state[key] = st.query_params.get(parameter)
    return st.session_state[key]


def choose_image(identifier: str) -> None:
    """Choose an image; its classes are its own, so the target is the top class again."""
    if identifier != image():
        st.session_state[_IMAGE] = identifier
        choose_target(None)
        choose_rival(None)


def target() -> int | None:
    """Return the class to explain, or None for the image's top class."""
    return _class_asked(_TARGET, TARGET_PARAMETER)


def choose_target(index: int | None) -> None:
    """Choose the class to explain; None is the top class."""
    st.session_state[_TARGET] = index
    st.session_state.pop(TARGET_CHOICE, None)


def rival() -> int | None:
    """Return the class to compare with, or None for the likeliest other one."""
    return _class_asked(_RIVAL, RIVAL_PARAMETER)


def choose_rival(index: int | None) -> None:
    """Choose the class to compare with; None is the likeliest other one."""
    st.session_state[_RIVAL] = index
    st.session_state.pop(COMPARE, None)


def _class_asked(key: str, parameter: str) -> int | None:
    if key not in st.session_state:
        text = st.query_params.get(parameter, "")
        st.session_state[key] = int(text) if text.isdecimal() else None
    return st.session_state[key]


def depth() -> str | None:
    """Return where maps are read, or None for the model's own default."""
    return asked(_DEPTH, DEPTH_PARAMETER)


def choose_depth(place: str | None) -> None:
    """Choose where maps are read; None is the model's own default."""
    st.session_state[_DEPTH] = place


def layer() -> str | None:
    """Return the name of the chosen layer, or None before one was chosen."""
    return asked(_LAYER, LAYER_PARAMETER)


def choose_layer(name: str | None) -> None:
    """Choose a layer on every page."""
    st.session_state[_LAYER] = name


def opacity() -> float:
    """Return how strongly maps cover the picture."""
    return st.session_state.get(_OPACITY, DEFAULT_OPACITY)


def choose_opacity(value: float) -> None:
    """Choose how strongly maps cover the picture, in hundredths."""
    st.session_state[_OPACITY] = round(value, 2)


def keep_picture(data: bytes) -> str:
    """Keep an uploaded picture's bytes for this session and return its id."""
    identifier = f"upload-{hashlib.sha256(data).hexdigest()[:12]}"
    pictures: dict[str, bytes] = st.session_state.setdefault(_PICTURES, {})
    pictures[identifier] = data
    for old in list(pictures)[:-MAX_UPLOADS]:
        del pictures[old]
    return identifier


def picture(identifier: str) -> bytes | None:
    """Return the bytes of an uploaded picture, or None where this session has none."""
    return st.session_state.get(_PICTURES, {}).get(identifier)


def pictures() -> dict[str, bytes]:
    """Return the uploaded pictures of this session by id, the latest last."""
    return dict(st.session_state.get(_PICTURES, {}))


def newly_uploaded(file: str) -> bool:
    """Say whether a file has just come: an uploader goes on holding what it was once given."""
    new = st.session_state.get(_UPLOADED) != file
    st.session_state[_UPLOADED] = file
    return new


def own_choice() -> ModelChoice | None:
    """Return the model that the user loaded, if any."""
    return st.session_state.get(_OWN)


def adopt(choice: ModelChoice) -> None:
    """Make the user's model the chosen one at the next run, before its widget exists."""
    st.session_state[_OWN] = choice
    st.session_state[_PENDING] = choice.label


def apply_pending() -> None:
    """Give the model's widget the value that `adopt` asked for."""
    if _PENDING in st.session_state:
        st.session_state[MODEL] = st.session_state.pop(_PENDING)


def locks(model_key: str) -> dict[str, LayerBits]:
    """Return the bits fixed by hand, by layer name."""
    return dict(st.session_state.get(_LOCKS, {}).get(model_key, {}))


def set_locks(model_key: str, fixed: Mapping[str, LayerBits]) -> None:
    """Replace the bits fixed by hand."""
    st.session_state.setdefault(_LOCKS, {})[model_key] = dict(fixed)


def budget() -> float:
    """Return the chosen average bits."""
    if _BITS not in st.session_state:
        st.session_state[_BITS] = _bits_asked(st.query_params.get(BITS_PARAMETER, ""))
    return st.session_state[_BITS]


def choose_budget(average: float) -> None:
    """Choose the average bits, in twentieths."""
    st.session_state[_BITS] = round(average, 2)


def _bits_asked(text: str) -> float:
    try:
        asked = round(float(text), 2)
    except ValueError:
        return DEFAULT_BITS
    return asked if LOWEST_BITS <= asked <= HIGHEST_BITS else DEFAULT_BITS


def offer(key: str, options: Iterable[Any]) -> None:
    """Forget a widget's value that it does not offer, before it exists: models differ."""
    value, offered = st.session_state.get(key), set(options)
    chosen = set(value) if isinstance(value, list) else {value}
    if value is not None and not chosen <= offered:
        del st.session_state[key]


def declined(key: Hashable) -> bool:
    """Say whether the user cancelled a piece of work."""
    return key in st.session_state.get(_DECLINED, ())


def decline(keys: Iterable[Hashable]) -> None:
    """Remember that the user cancelled work, so that it does not start again by itself."""
    st.session_state.setdefault(_DECLINED, set()).update(keys)


def ask_again(keys: Iterable[Hashable]) -> None:
    """Allow cancelled work to start again."""
    st.session_state.setdefault(_DECLINED, set()).difference_update(keys)
