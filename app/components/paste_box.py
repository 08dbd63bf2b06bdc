"""A box that takes a picture from the clipboard."""

import base64

import streamlit as st

from app import public

LIMIT = 10_000_000  # bytes
_HTML = """
<div class="box" contenteditable="true" role="textbox" tabindex="0" spellcheck="false"></div>
<p role="status"></p>
"""
_CSS = """
.box {
  display: flex; align-items: center; justify-content: center; box-sizing: border-box;
  min-height: 4.25rem; padding: 0.5rem; text-align: center; cursor: pointer;
  font-size: 0.875rem; color: var(--st-text-color); caret-color: transparent;
  background: var(--st-secondary-background-color);
  border: 1px dashed var(--st-border-color); border-radius: var(--st-base-radius);
}
.box::before { content: attr(data-hint); }
.box:focus { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
p { min-height: 1.2em; margin: 0.3rem 0 0; font-size: 0.8rem; color: var(--st-text-color); }
"""
# Editable, so that every browser offers to paste here, by keys or by its menu; but nothing stays.
_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".box")
  const say = text => { parentElement.querySelector("p").textContent = text }
  box.setAttribute("aria-label", data.label)
  box.dataset.hint = data.hint
  box.onbeforeinput = event => event.preventDefault()
  box.ondrop = event => event.preventDefault()
  box.onpaste = event => {
    event.preventDefault()
    const files = [...event.clipboardData.files]
    const picture = files.find(file => file.type.startsWith("image/"))
    if (!picture) return say("There is no picture in the clipboard: copy one first.")
    if (picture.size > data.limit) return say("The picture is too large: shrink it.")
    say("Reading the picture …")
    const reader = new FileReader()
    reader.onload = () => { say(""); setTriggerValue("pasted", reader.result.split(",")[1]) }
    reader.onerror = () => say("The picture cannot be read: copy it again.")
    reader.readAsDataURL(picture)
  }
}
"""
_mount = st.components.v2.component("bitlens.paste_box", html=_HTML, css=_CSS, js=_JS)


def paste_box(label: str, hint: str, key: str) -> bytes | None:
    """Show the box; return the bytes that were just pasted into it, once.

    They are whatever the browser sent: b"" where that cannot be a picture within the limit.
    """
    data = {"label": label, "hint": hint, "limit": limit()}
    sent = _mount(key=key, data=data, on_pasted_change=lambda: None).pasted
    return None if sent is None else decoded(sent)


def limit() -> int:
    """Return how many bytes a picture may have, as for uploads."""
    return min(LIMIT, public.picture_mb() * 1_000_000)


def decoded(sent: object) -> bytes:
    """Return the bytes of base64 text; b"" where it is none, or too long."""
    if not isinstance(sent, str) or len(sent) > limit() * 4 // 3 + 4:
        return b""
    try:
        return base64.b64decode(sent, validate=True)
    except ValueError:
        return b""
