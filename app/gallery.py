"""Choose an image: from the bundled or the user's own images, or an upload."""

from __future__ import annotations

import streamlit as st
from PIL import Image

from app import pictures, state
from app.components.thumbnails import Thumbnail, thumbnails
from app.first_screen import EXAMPLE_PAIR
from assets import digits
from assets.data import ImageSet, has_digits
from assets.errors import InputError
from assets.models import LoadedModel
from assets.uploads import open_image

PAIRS, IMAGES, UPLOAD = "Two digits", "Single images", "Your own"
PAGE = 10  # thumbnails on a page
PAIR_IDS = range(PAGE)
TYPES = ["png", "jpg", "jpeg", "webp"]


def choose(loaded: LoadedModel, images: ImageSet | None) -> Image.Image | None:
    """Show the gallery; return the chosen picture, or None while there is none."""
    sources = _sources(loaded, images)
    first = {PAIRS: f"pair-{EXAMPLE_PAIR}", IMAGES: "image-0"}.get(sources[0])
    with st.container(border=True):
        source = _source(sources)
        if source == UPLOAD:
            _upload()
        elif source == PAIRS:
            _strip("Pictures of two digits", _pair_items(), first)
        elif images is not None:
            _browse(images, first)
    return _picture(sources, images, first)


def _sources(loaded: LoadedModel, images: ImageSet | None) -> list[str]:
    pairs = [PAIRS] if images is not None and has_digits(loaded) else []
    return [*pairs, *([IMAGES] if images is not None else []), UPLOAD]


def _source(sources: list[str]) -> str:
    if st.session_state.get(state.SOURCE) not in sources:
        st.session_state[state.SOURCE] = _source_of(state.image(), sources)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.segmented_control(
            "Image from",
            sources,
            key=state.SOURCE,
            required=True,
            label_visibility="collapsed",
            persist_state="session",
        )
        st.caption(HINTS[st.session_state[state.SOURCE]], width="content")
    return st.session_state[state.SOURCE]


HINTS = {
    PAIRS: "Two digits in one picture: the same model, asked about each of them, looks elsewhere.",
    IMAGES: "Validation images with their true class.",
    UPLOAD: "PNG, JPEG or WebP, up to 10 MB. It stays on this machine.",
}


def _source_of(identifier: str | None, sources: list[str]) -> str:
    kinds = {"pair": PAIRS, "image": IMAGES, "upload": UPLOAD}
    kind = kinds.get((identifier or "").partition("-")[0], "")
    return kind if kind in sources else sources[0]


def _strip(label: str, items: list[Thumbnail], first: str | None) -> None:
    thumbnails(label, items, state.image() or first, state.GALLERY, state.choose_image)


def _browse(images: ImageSet, first: str | None) -> None:
    pages = max(1, -(-len(images) // PAGE))
    place = st.empty()
    page = st.pagination(pages, key=state.GALLERY_PAGE, persist_state="session")
    with place.container():
        _strip(
            f"Images of {images.name}", _image_items(images, images.key, min(page, pages)), first
        )


@st.cache_data(max_entries=4, show_spinner=False)
def _pair_items() -> list[Thumbnail]:
    pairs = {f"pair-{i}": digits.pair("validation", i) for i in PAIR_IDS}
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


def _upload() -> None:
    file = st.file_uploader(
        "Picture", TYPES, key=state.UPLOAD, label_visibility="collapsed", max_upload_size=10
    )
    if file is None:
        return
    try:
        data = file.getvalue()
        open_image(data)
    except InputError as error:
        st.error(f"{file.name}: {error}")
        return
    state.choose_image(state.keep_picture(data))


def _picture(sources: list[str], images: ImageSet | None, first: str | None) -> Image.Image | None:
    """Open the chosen image; where it cannot be had, say why and take the first one."""
    identifier = state.image()
    if identifier is not None:
        try:
            return picture_of(identifier, sources, images)
        except InputError as error:
            st.error(f"{str(error).capitalize()}.")
    return None if first is None else picture_of(first, sources, images)


def digits_in(identifier: str | None) -> tuple[int, ...]:
    """Return the classes that a bundled picture of two digits shows; () for other pictures."""
    kind, _, number = (identifier or f"pair-{EXAMPLE_PAIR}").partition("-")
    known = kind == "pair" and _within(number, digits.LENGTHS["validation"])
    return digits.pair("validation", int(number)).labels if known else ()


def picture_of(identifier: str, sources: list[str], images: ImageSet | None) -> Image.Image:
    """Return the picture of an id; InputError where this session has none."""
    kind, _, number = identifier.partition("-")
    if kind == "pair" and PAIRS in sources and _within(number, digits.LENGTHS["validation"]):
        return digits.pair("validation", int(number)).image
    if kind == "image" and images is not None and _within(number, len(images)):
        return images.picture(int(number))
    data = state.picture(identifier)
    if data is not None:
        return open_image(data)
    raise InputError(
        f"the image {identifier!r} is not among these: choose one above, or upload it again"
    )


def _within(number: str, count: int) -> bool:
    return number.isdecimal() and int(number) < count
