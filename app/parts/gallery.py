"""Choose an image: from the bundled or the user's own images, an upload or the clipboard."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import streamlit as st
from PIL import Image

from app import public
from app.components.paste_box import paste_box
from app.components.thumbnails import Thumbnail, thumbnails
from app.first_screen import EXAMPLE_PAIR
from app.look import pictures
from app.parts.choice import one_of
from app.state import entry, selection
from app.text import escape, short, told
from app.work import explanations
from app.work.explanations import Prepared
from assets.errors import InputError
from assets.models.load import LoadedModel
from assets.pictures import digits
from assets.pictures.sources import DigitSource
from assets.pictures.uploads import open_image
from assets.sets.image_set import ImageSet, has_digits

PAIRS, IMAGES, UPLOAD = "Two digits", "Single images", "Your own"
FIRST = {PAIRS: f"pair-{EXAMPLE_PAIR}", IMAGES: "image-0"}
HINTS = {
    PAIRS: "Asked about each digit, the model looks elsewhere.",
    IMAGES: "Validation images with their true class.",
    UPLOAD: "PNG, JPEG or WebP of up to 10 MB; it stays on this machine.",
}
SERVED = f"PNG, JPEG or WebP of up to {public.PICTURE_MB} MB; it is gone when you leave."
PAGE = 10  # thumbnails on a page
TYPES = ["png", "jpg", "jpeg", "webp"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """A picture, and for each class known to be in it where that is (bool, H, W).

    `upload` is the id of an uploaded one, which is decoded only where it has to be.
    """

    picture: Callable[[], Image.Image]
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    upload: str | None = None

    def prepared(self, loaded: LoadedModel) -> Prepared:
        """Return the picture as a model sees it; InputError where that cannot be."""
        if self.upload is None:
            return explanations.prepare(loaded, self.picture())
        return explanations.prepare_upload(loaded, self.upload, self.picture)


def choose(loaded: LoadedModel, images: ImageSet | None) -> Labelled | None:
    """Show the gallery; return the chosen picture, or None while there is none."""
    sources = _sources(loaded, images)
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="center")
        with row:
            source = _source(sources)
        if source == UPLOAD:
            _own(loaded, sources)
        elif source == PAIRS:
            _strip("Pictures of two digits", _pair_items(), sources)
        elif images is not None:
            with row:
                page = _page(images)
            _strip(f"Images of {images.name}", _image_items(images, images.key, page), sources)
    return current(loaded, images)


def current(loaded: LoadedModel, images: ImageSet | None) -> Labelled | None:
    """Return the chosen picture; where it cannot be had, show why and return the first one."""
    sources, identifier = _sources(loaded, images), selection.IMAGE.get()
    if identifier is not None:
        try:
            return picture_of(identifier, sources, images)
        except InputError as error:
            st.error(told(error))
    first = FIRST.get(sources[0])
    return None if first is None else picture_of(first, sources, images)


def _sources(loaded: LoadedModel, images: ImageSet | None) -> list[str]:
    pairs = [PAIRS] if images is not None and has_digits(loaded) else []
    return [*pairs, *([IMAGES] if images is not None else []), UPLOAD]


def _source(sources: list[str]) -> str:
    selection.offer(selection.SOURCE, sources)
    default = _source_of(selection.IMAGE.get(), sources)
    source = one_of("Image from", sources, selection.SOURCE, default=default)
    st.caption(
        escape(SERVED if source == UPLOAD and public.on() else HINTS[source]), width="content"
    )
    return source


def _source_of(identifier: str | None, sources: list[str]) -> str:
    kinds = {"pair": PAIRS, "image": IMAGES, "upload": UPLOAD}
    kind = kinds.get((identifier or "").partition("-")[0], "")
    return kind if kind in sources else sources[0]


def _strip(label: str, items: list[Thumbnail], sources: list[str]) -> None:
    marked = selection.IMAGE.get() or FIRST.get(sources[0])
    thumbnails(label, items, marked, selection.GALLERY, selection.choose_image)


def _page(images: ImageSet) -> int:
    pages = max(1, -(-len(images) // PAGE))
    return min(pages, st.pagination(pages, key=selection.GALLERY_PAGE, persist_state="session"))


@st.cache_data(max_entries=4, show_spinner=False)
def _pair_items() -> list[Thumbnail]:
    pairs = {f"pair-{i}": digits.pair("validation", i) for i in range(PAGE)}
    return [_item(key, f"{p.labels[0]} and {p.labels[1]}", p.image) for key, p in pairs.items()]


@st.cache_data(max_entries=64, show_spinner=False)
def _image_items(_images: ImageSet, key: str, page: int) -> list[Thumbnail]:
    numbers = range((page - 1) * PAGE, min(page * PAGE, len(_images)))
    items = []
    for number in numbers:
        try:
            picture = _images.picture(number)
        except InputError:  # a damaged file: say so when it is chosen, not before
            picture = Image.new("RGB", (72, 72), "grey")
        items.append(_item(f"image-{number}", _images.classes[_images.label(number)], picture))
    return items


def _item(identifier: str, caption: str, picture: Image.Image) -> Thumbnail:
    return Thumbnail(identifier, caption, pictures.data_url(pictures.thumbnail(picture)))


def _own(loaded: LoadedModel, sources: list[str]) -> None:
    """Take a file or a pasted picture, and offer those of this session again."""
    left, right = st.columns(2)
    with left:
        file = st.file_uploader(
            "Picture",
            TYPES,
            key=selection.UPLOAD,
            label_visibility="collapsed",
            max_upload_size=public.picture_mb(),
        )
    with right:
        hint = "Click here and paste a picture: Ctrl+V or ⌘V"
        pasted = paste_box("Paste a picture", hint, selection.PASTE)
    if file is not None and selection.newly_uploaded(file.file_id):
        _keep(loaded, file.name, file.getvalue())
    if pasted is not None:
        _keep(loaded, "What was pasted", pasted)
    own = selection.PICTURES.get()
    if own:
        items = [_own_item(name, f"picture {n}") for n, name in enumerate(own, 1)]
        _strip("Your pictures", items, sources)


def _own_item(identifier: str, caption: str) -> Thumbnail:
    data = selection.PICTURES.get()[identifier]
    return Thumbnail(identifier, caption, _own_url(identifier, partial(open_image, data)))


@st.cache_data(max_entries=128, show_spinner=False)
def _own_url(identifier: str, _picture: Callable[[], Image.Image]) -> str:
    return pictures.data_url(pictures.thumbnail(_picture()))


def _keep(loaded: LoadedModel, name: str, data: bytes) -> None:
    """Keep an upload; it is decoded here, once for its thumbnail and for the model."""
    identifier, picture = selection.picture_id(data), cache(partial(open_image, data))
    try:
        explanations.prepare_upload(loaded, identifier, picture)
        _own_url(identifier, picture)
    except InputError as error:
        st.error(escape(f"{name}: {error}"))
        return
    selection.keep_picture(identifier, data)
    selection.choose_image(identifier)


def picture_of(identifier: str, sources: list[str], images: ImageSet | None) -> Labelled:
    """Return the picture of an id; InputError where this session has none."""
    kind, _, text = identifier.partition("-")
    number = entry.number(text)
    if number is not None:
        if kind == "pair" and PAIRS in sources and number < digits.LENGTHS["validation"]:
            pair = digits.pair("validation", number)
            return Labelled(lambda: pair.image, dict(zip(pair.labels, pair.masks, strict=True)))
        if kind == "image" and images is not None and number < len(images):
            picture = images.picture(number)
            return Labelled(lambda: picture, _masks(images, number))
    data = selection.PICTURES.get().get(identifier)
    if data is not None:
        return Labelled(partial(open_image, data), upload=identifier)
    raise InputError(
        f"the image {short(identifier)!r} is not among these: choose one above, or upload it again"
    )


def _masks(images: ImageSet, number: int) -> dict[int, np.ndarray]:
    """Return the mask of a bundled picture; of others it is not known."""
    if not isinstance(images.source, DigitSource):
        return {}
    drawn = digits.sample(images.source.split, images.indices[number])
    return {drawn.label: drawn.mask}
