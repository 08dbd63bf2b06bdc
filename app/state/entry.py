"""One thing that a session keeps: what it is called, its default, and how a link says it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import streamlit as st

T = TypeVar("T")
DIGITS = 12  # of a number in a link; Python refuses to read thousands, and SQLite to look for them


def among(options: Iterable[T]) -> Callable[[str], T | None]:
    """Return what reads one of `options` from its text, or None from any other text."""
    return {str(option): option for option in options}.get


def number(text: str) -> int | None:
    """Read a number of a few digits; None from any other text, and from what counts nothing."""
    return int(text) if text.isdecimal() and len(text) <= DIGITS else None


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One thing that a session keeps.

    Attributes:
        key: what the session calls it.
        default: its value before any was set.
        clean: what is kept of a value that is set, such as its rounding.
    """

    key: str
    default: T
    clean: Callable[[T], T] = lambda value: value

    @property
    def widget(self) -> str:
        """The key of the widget that follows it."""
        return f"{self.key}_widget"

    def get(self) -> T:
        """Return its value."""
        value: T = st.session_state.get(self.key, self.default)
        return value

    def set(self, value: T) -> None:
        """Set its value."""
        st.session_state[self.key] = self.clean(value)

    def pop(self) -> T:
        """Return its value and go back to the default."""
        value: T = st.session_state.pop(self.key, self.default)
        return value

    def follow(self, value: object) -> Callable[[], None]:
        """Set its widget, which does not exist yet, to `value`; return the widget's `on_change`.

        A widget's own state is gone once a page does not show it: the entry stays.
        """
        st.session_state[self.widget] = value
        return lambda: self.set(st.session_state[self.widget])


# What a link said that means nothing, by parameter, until the page has said so.
MISREAD: Entry[Mapping[str, str]] = Entry("_misread", {})


@dataclass(frozen=True, kw_only=True)
class Linked(Entry[T]):
    """An entry that the address shows, and that a link sets where the session did not yet.

    Attributes:
        parameter: what a link calls it.
        read: makes a value of a link's text; None where it means nothing, which is the default.
        write: makes a link's text of a value.
    """

    parameter: str
    read: Callable[[str], T | None]
    write: Callable[[T], str] = str

    def get(self) -> T:
        """Return its value, at first the link's."""
        text = st.query_params.get(self.parameter)
        if self.key not in st.session_state and text is not None:
            value = self.read(text)
            if value is None:
                MISREAD.set({**MISREAD.get(), self.parameter: text})
            st.session_state[self.key] = self.default if value is None else value
        return super().get()

    def reset(self) -> None:
        """Go back to the default, whatever the address says; another link may set it again."""
        st.session_state.pop(self.key, None)
        st.query_params.pop(self.parameter, None)

    def text(self) -> str | None:
        """Return what a link says of it: nothing of the default."""
        value = self.get()
        return None if value == self.default else self.write(value)
