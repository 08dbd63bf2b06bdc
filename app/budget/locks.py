"""Layers whose bits are fixed by hand."""

from __future__ import annotations

import streamlit as st

from app.state import selection
from app.state.selection import Selected
from app.work import models
from quant.primitives.bits import MENU, LayerBits


def show(selected: Selected) -> None:
    """Let the user lock layers in other ways than by a click on a bar."""
    key = selected.loaded.key
    names = [layer.name for layer in models.layers_of(selected.loaded)]
    fixed = selection.locks(key)
    label = f"Locked by hand: {len(fixed)}" if fixed else "Lock layers"
    with st.popover(label, icon=":material/lock:", key=f"locks-{key}"):
        st.caption("A click on a bar locks its layer at the bits it has, another unlocks it.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.multiselect("Layers", names, key=selection.LOCK_LAYERS, placeholder="Choose layers")
            st.selectbox("Bits", MENU, index=MENU.index(8), key=selection.LOCK_BITS, width=90)
            st.button("Lock", icon=":material/lock:", on_click=_lock, args=(key,))
        with st.container(horizontal=True):
            st.button(
                "First and last at 8",
                on_click=_lock_ends,
                args=(key, names),
                help="Keep the patch embedding and the head precise, as is common.",
            )
            st.button("Clear all", on_click=selection.set_locks, args=(key, {}), disabled=not fixed)
        if fixed:
            st.caption(_told(fixed))


def _told(fixed: dict[str, LayerBits]) -> str:
    shown = [f"`{name}` {bits.in_words('bit')}" for name, bits in list(fixed.items())[:12]]
    more = len(fixed) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _fixed(names: list[str], width: int) -> dict[str, LayerBits]:
    return dict.fromkeys(names, LayerBits(width, width))


def _lock(key: str) -> None:
    chosen = _fixed(st.session_state[selection.LOCK_LAYERS], st.session_state[selection.LOCK_BITS])
    selection.set_locks(key, selection.locks(key) | chosen)
    st.session_state[selection.LOCK_LAYERS] = []


def _lock_ends(key: str, names: list[str]) -> None:
    selection.set_locks(key, selection.locks(key) | _fixed([names[0], names[-1]], MENU[-1]))
