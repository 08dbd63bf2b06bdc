"""The sidebar: which model, on which images, where it runs. The same on every page."""

import pandas as pd
import streamlit as st

from app import public
from app.look import units
from app.parts.choice import one_of
from app.state import selection
from app.state.selection import ModelChoice, Selected
from app.text import Markdown, clean, told
from app.work import models
from assets.errors import InputError
from assets.models.load import BUNDLED
from assets.sets.image_set import ImageSet, has_digits


def show() -> None:
    """Show the sidebar and take the chosen model into use; a failure keeps the former one."""
    selection.apply_pending()
    with st.sidebar:
        choice = _choice()
        device = _device()
        try:
            selection.use(open_selection(choice, device))
        except ValueError as error:
            st.error(told(error))
        _facts(selection.CURRENT.get())
        if not public.on():
            _own_model(device)


def open_selection(choice: ModelChoice, device: str, again: bool = False) -> Selected:
    """Load a model and open its images; InputError says what is wrong with either.

    Args:
        again: look through the folder even if that was done a moment ago.
    """
    own = choice.checkpoint or choice.folder or choice.name not in _offered()
    if public.on() and own:
        raise InputError("this server shows its own models and images: choose one in the sidebar")
    loaded = models.load(choice, device)
    folder = choice.folder
    there = folder or has_digits(loaded)
    images = models.images_of(folder, loaded, again=again) if there else None
    return Selected(loaded, images, folder, choice.checkpoint)


def _choice() -> ModelChoice:
    own = selection.OWN.get()
    options = list(dict.fromkeys([*_offered(), *([own.label] if own else [])]))
    label = st.selectbox(
        "Model",
        options,
        key=selection.MODEL,
        bind="query-params",
        help="Three small transformers come with Bitlens."
        if public.on()
        else "Three small transformers come with Bitlens. Load any other timm model below.",
    )
    if own and label == own.label:
        return own
    # Whoever serves it listed the model, so that its weights may be fetched.
    return ModelChoice(label or BUNDLED[0], download=label in public.listed())


def _offered() -> tuple[str, ...]:
    return (*BUNDLED, *public.listed())


def _device() -> str:
    devices = models.devices()
    if len(devices) == 1:
        return devices[0]
    help = "Where models run. The first is the fastest."
    return one_of("Device", devices, selection.DEVICE, titled=True, help=help)


def _facts(selected: Selected | None) -> None:
    if selected is None:
        return
    layers = models.layers_of(selected.loaded)
    parameters = sum(p.numel() for p in selected.loaded.model.parameters())
    height, width = selected.loaded.input_size[1:]
    images = "uploads only" if selected.images is None else selected.images.name
    count = "" if selected.images is None else f" ({units.count(len(selected.images))})"
    facts = (
        f"{units.large(parameters)} parameters, {len(layers)} layers, "
        f"{height}×{width} pixels, {selected.loaded.num_classes} classes"
    )
    st.caption(Markdown("{}  \nImages: {}{}").format(facts, images, count))
    for note in selected.loaded.notes:
        st.text(clean(f"The checkpoint: {note}."))
    if selected.images is not None:
        _folders(selected.images)


def _folders(images: ImageSet) -> None:
    """Show what became of each folder of images."""
    if images.fates is None:
        return
    for sentence in images.fates.sentences:
        st.text(clean(f"{sentence[:1].upper()}{sentence[1:]}."))
    with st.expander("What became of each folder", icon=":material/rule_folder:"):
        rows = pd.DataFrame(images.fates.rows(images.classes))
        st.dataframe(rows, hide_index=True, alt="what became of each folder")


def _own_model(device: str) -> None:
    """Offer a form to load any timm model, weights and images."""
    with (
        st.expander("Your own model or images", icon=":material/folder_open:"),
        st.form("own", border=False),
    ):
        name = st.text_input(
            "timm model",
            key=selection.OWN_NAME,
            placeholder="deit_tiny_patch16_224",
            help="Any ViT, DeiT or Swin of timm. Empty: the model chosen above.",
        )
        checkpoint = st.text_input(
            "Checkpoint file (optional)",
            key=selection.OWN_CHECKPOINT,
            placeholder="/path/to/weights.safetensors",
            help="A safetensors or PyTorch file. Empty: timm's own weights.",
        )
        download = st.checkbox(
            "Download timm's weights",
            key=selection.OWN_DOWNLOAD,
            help="From Hugging Face, where they are not on this machine yet.",
        )
        folder = st.text_input(
            "Image folder (optional)",
            key=selection.OWN_FOLDER,
            placeholder="/path/to/images",
            help="One folder per class, as in ImageNet. WordNet ids or a classes.txt name them.",
        )
        if st.form_submit_button("Load", icon=":material/download:", width="stretch"):
            in_use = selection.CURRENT.get()
            name = name.strip() or (BUNDLED[0] if in_use is None else in_use.loaded.name)
            files = (checkpoint.strip() or None, folder.strip() or None)
            _adopt(ModelChoice(name, *files, download), device)


def _adopt(choice: ModelChoice, device: str) -> None:
    """Load what the form asks for; only if that works does it replace the model in use."""
    try:
        open_selection(choice, device, again=True)
    except ValueError as error:
        st.error(told(error))
        return
    selection.adopt(choice)
    st.rerun()
