"""A strip of thumbnails of which one is chosen."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from app.text import clean

_HTML = '<div class="strip" role="group"></div>'
_CSS = """
.strip { display: flex; gap: 0.5rem; overflow-x: auto; padding: 3px; }
.strip.wrapped { display: grid; gap: 0.35rem; overflow: visible;
  grid-template-columns: repeat(auto-fill, minmax(calc(var(--width) + 12px), 1fr)); }
.strip.wrapped img { width: 100%; height: auto; aspect-ratio: 1; }
.strip button {
  flex: none; display: flex; flex-direction: column; align-items: center; gap: 0.2rem;
  margin: 0; padding: 4px 4px 2px; cursor: pointer;
  font: inherit; font-size: 0.8rem; color: var(--st-text-color);
  background: var(--st-background-color);
  border: 2px solid transparent; border-radius: var(--st-base-radius);
}
.strip img { display: block; width: var(--width); height: var(--width); border-radius: 4px; }
.strip span {
  max-width: var(--width); overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.strip.wrapped span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4;
  max-width: 100%; white-space: normal; overflow-wrap: anywhere; text-align: center; }
.strip button:hover { background: var(--st-secondary-background-color); }
.strip button[aria-pressed="true"] {
  border-color: var(--st-primary-color); background: var(--st-secondary-background-color);
}
.strip button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
"""
# Text goes in by textContent and alt only: captions may come from a user's folder names.
_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip")
  strip.setAttribute("aria-label", data.label)
  strip.classList.toggle("wrapped", data.wrapped)
  strip.style.setProperty("--width", data.width + "px")
  const press = id => strip.querySelectorAll("button").forEach(
    button => button.setAttribute("aria-pressed", String(button.dataset.id === id)))
  strip.replaceChildren(...data.items.map(item => {
    const button = document.createElement("button")
    const image = document.createElement("img")
    const caption = document.createElement("span")
    button.type = "button"
    button.dataset.id = item.identifier
    button.title = item.caption
    image.src = item.url
    image.alt = ""
    caption.textContent = item.caption
    button.append(image, caption)
    button.onclick = () => { press(item.identifier); setTriggerValue("chosen", item.identifier) }
    return button
  }))
  press(data.chosen)
}
"""
_mount = st.components.v2.component("bitlens.thumbnails", html=_HTML, css=_CSS, js=_JS)


@dataclass(frozen=True)
class Thumbnail:
    """One picture to choose: `url` is a data URL."""

    identifier: str
    caption: str
    url: str


def thumbnails(
    label: str,
    items: Sequence[Thumbnail],
    chosen: str | None,
    key: str,
    on_choose: Callable[[str], None],
    width: int = 72,
    wrapped: bool = False,
) -> None:
    """Show thumbnails of `width` pixels, in one row or wrapped into rows.

    `on_choose` hears the identifier of the one that was clicked.
    """

    def on_chosen() -> None:
        identifier = st.session_state[key].chosen
        if identifier in {item.identifier for item in items}:
            on_choose(identifier)

    shown = [{**asdict(item), "caption": clean(item.caption)} for item in items]
    data = {"label": clean(label), "chosen": chosen, "items": shown}
    _mount(key=key, data={**data, "width": width, "wrapped": wrapped}, on_chosen_change=on_chosen)
