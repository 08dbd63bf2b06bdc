"""Layers whose bits are fixed by hand."""

from __future__ import annotations

import streamlit as st

from app import compute, state
from app.sidebar import Selected
from quant.allocation import MENU


def show(selected: Selected) -> dict[str, int]:
    """Let the user lock layers; return the bits of those that are."""
    key = selected.loaded.key
    names = [layer.name for layer in compute.layers_of(selected.loaded)]
    fixed = state.locks(key)
    label = f"Locked by hand: {len(fixed)}" if fixed else "Lock layers by hand"
    with st.expander(label, icon=":material/lock:", key=f"locks-{key}"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.multiselect("Layers", names, key=state.LOCK_LAYERS, placeholder="Choose layers")
            st.selectbox("Bits", MENU, index=MENU.index(8), key=state.LOCK_BITS, width=90)
            st.button("Lock", icon=":material/lock:", on_click=_lock, args=(key,))
            st.button(
                "First and last at 8",
                on_click=_lock_ends,
                args=(key, names),
                help="Keep the patch embedding and the head precise, as is common.",
            )
            st.button("Clear all", on_click=state.set_locks, args=(key, {}), disabled=not fixed)
        if fixed:
            st.caption(", ".join(f"`{name}` {bits} bit" for name, bits in fixed.items()))
    return fixed


def _lock(key: str) -> None:
    chosen = dict.fromkeys(st.session_state[state.LOCK_LAYERS], st.session_state[state.LOCK_BITS])
    state.set_locks(key, state.locks(key) | chosen)
    st.session_state[state.LOCK_LAYERS] = []


def _lock_ends(key: str, names: list[str]) -> None:
    state.set_locks(key, state.locks(key) | dict.fromkeys((names[0], names[-1]), MENU[-1]))
