"""What a session chose on all pages: the model, the image, its classes, a depth, a layer, locks."""

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app import public
from app.state.entry import Entry, Linked, number
from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from quant.primitives.bits import LayerBits

# Keys of widgets that are bound to the address (ids only), so that a link opens the same view.
MODEL = "model"
VIEW = "view"
RULES = "rules"
METHODS = "methods"
LEFT = "left"
RIGHT = "right"
FAITHFUL = "faithfulness"
SHOWN = "show"
DIVIDE = "divide"
HEADS = "heads"
SCORE_RULES = "score_rules"
SCORE_STATISTIC = "score_statistic"

# Keys of other widgets.
DEVICE = "device"
OWN_NAME = "own_name"
OWN_CHECKPOINT = "own_checkpoint"
OWN_FOLDER = "own_folder"
OWN_DOWNLOAD = "own_download"
SOURCE = "source"
GALLERY = "gallery"
GALLERY_PAGE = "gallery_page"
UPLOAD = "upload"
PASTE = "paste"
SMOOTH = "smooth"
DIVIDER = "divider"
METHOD_DIVIDER = "method_divider"
BLOCKS = "block_strip"
SCORE_IMAGES = "score_images"
SCORE_CHART = "score_chart"
LOCK_LAYERS = "lock_layers"
LOCK_BITS = "lock_bits"

MAP_VIEW = "Map"
METHODS_VIEW = "Methods side by side"
DEPTH_VIEW = "Through depth"
MAX_UPLOADS = 8


@dataclass(frozen=True)
class ModelChoice:
    """What to load: a bundled or timm name, perhaps with a checkpoint and a folder of images.

    `download`: timm's weights may be fetched from the network.
    """

    name: str
    checkpoint: str | None = None
    folder: str | None = None
    download: bool = False

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


# The model and its images in use; None before any loaded.
CURRENT: Entry[Selected | None] = Entry("_current", None)
# The id of the chosen image, such as "pair-3".
IMAGE: Linked[str | None] = Linked("_image", None, parameter="image", read=str)
# The class to explain, None for the image's top class, and the one to compare it with, None for the
# likeliest other one.
TARGET: Linked[int | None] = Linked("_target", None, parameter="class", read=number)
RIVAL: Linked[int | None] = Linked("_rival", None, parameter="against", read=number)
# Where maps are read; None is the model's own default.
DEPTH: Linked[str | None] = Linked("_depth", None, parameter="depth", read=str)
# The name of the chosen layer, on every page.
LAYER: Linked[str | None] = Linked("_layer", None, parameter="layer", read=str)
# How strongly maps cover the picture.
OPACITY: Entry[float] = Entry("_opacity", 0.85, clean=lambda share: round(share, 2))
# The model that the user loaded, and the label that its widget is to show.
OWN: Entry[ModelChoice | None] = Entry("_own", None)
_PENDING: Entry[str | None] = Entry("_pending", None)
# The uploaded pictures by id, the latest last, and the file that came last.
PICTURES: Entry[Mapping[str, bytes]] = Entry("_pictures", {})
_UPLOADED: Entry[str | None] = Entry("_uploaded", None)
# By model, the bits fixed by hand.
_TAKEN: Entry[Mapping[str, Mapping[str, Sequence[int]]]] = Entry("_taken", {})
_LOCKS: Entry[Mapping[str, Mapping[str, LayerBits]]] = Entry("_locks", {})
# Keys of the work that the user cancelled.
_DECLINED: Entry[frozenset[Hashable]] = Entry("_declined", frozenset())


def use(selected: Selected) -> None:
    """Take a model and its images into use on all pages; another model has depths of its own."""
    former = CURRENT.get()
    if former is not None and former.loaded.key != selected.loaded.key:
        DEPTH.reset()
        LAYER.reset()
    CURRENT.set(selected)


def choose_image(identifier: str) -> None:
    """Choose an image; its classes are its own, so the target is the top class again."""
    if identifier != IMAGE.get():
        IMAGE.set(identifier)
        TARGET.reset()
        RIVAL.reset()


def picture_id(data: bytes) -> str:
    """Return the id of an uploaded picture: of its content."""
    return f"upload-{hashlib.sha256(data).hexdigest()[:32]}"


def keep_picture(identifier: str, data: bytes) -> None:
    """Keep an uploaded picture's bytes for this session."""
    pictures = {**PICTURES.get(), identifier: data}
    most = public.PICTURES if public.on() else MAX_UPLOADS
    PICTURES.set(dict(list(pictures.items())[-most:]))


def newly_uploaded(file: str) -> bool:
    """Return whether a file has just come: an uploader goes on holding what it was once given."""
    new = _UPLOADED.get() != file
    _UPLOADED.set(file)
    return new


def adopt(choice: ModelChoice) -> None:
    """Make the user's model the chosen one at the next run, before its widget exists."""
    OWN.set(choice)
    _PENDING.set(choice.label)


def apply_pending() -> None:
    """Give the model's widget the value that `adopt` asked for."""
    label = _PENDING.pop()
    if label is not None:
        st.session_state[MODEL] = label


def locks(model_key: str) -> dict[str, LayerBits]:
    """Return the bits fixed by hand, by layer name."""
    return dict(_LOCKS.get().get(model_key, {}))


def taken(model_key: str) -> Mapping[str, Sequence[int]]:
    """Return the images that loaded bits were chosen on: places in a source, by its key."""
    return _TAKEN.get().get(model_key, {})


def load(
    model_key: str, allocation: Mapping[str, LayerBits], chosen_on: Mapping[str, Sequence[int]]
) -> None:
    """Lock all layers at bits that were chosen on images, which are not measured from now on."""
    set_locks(model_key, allocation)
    _TAKEN.set({**_TAKEN.get(), model_key: chosen_on})


def set_locks(model_key: str, fixed: Mapping[str, LayerBits]) -> None:
    """Replace the bits fixed by hand."""
    _LOCKS.set({**_LOCKS.get(), model_key: dict(fixed)})


def offer(key: str, options: Iterable[Hashable]) -> None:
    """Forget a widget's value that it does not offer, before it exists: models differ."""
    value, offered = st.session_state.get(key), set(options)
    chosen = set(value) if isinstance(value, list) else {value}
    if value is not None and not chosen <= offered:
        del st.session_state[key]


def declined(key: Hashable) -> bool:
    """Return whether the user cancelled a piece of work."""
    return key in _DECLINED.get()


def decline(keys: Iterable[Hashable]) -> None:
    """Remember that the user cancelled work, so that it does not start again by itself."""
    _DECLINED.set(_DECLINED.get() | set(keys))


def ask_again(keys: Iterable[Hashable]) -> None:
    """Allow cancelled work to start again."""
    _DECLINED.set(_DECLINED.get() - set(keys))
