"""Choose one of a few options that stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def one_of(
    label: str,
    options: Sequence[T],
    key: str,
    *,
    default: T | None = None,
    linked: bool = False,
    titled: bool = False,
    format_func: Callable[[T], str] = str,
    help: str | None = None,
) -> T:
    """Let the user choose one option, at first `default` or else the first.

    Args:
        linked: the address names the choice; else the session keeps it across pages.
        titled: the label is shown; else it is for screen readers.
    """
    first = options[0] if default is None else default
    chosen: T | None = st.segmented_control(
        label,
        options,
        default=first,
        required=True,
        key=key,
        bind="query-params" if linked else None,
        persist_state=None if linked else "session",
        label_visibility="visible" if titled else "collapsed",
        format_func=format_func,
        help=help,
    )
    return first if chosen is None else chosen  # None from a link that names it and no option
