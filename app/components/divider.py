"""Two pictures in one place with a divider to drag between them, drawn in the browser alone."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import streamlit as st

from app.text import clean

_HTML = """
<div class="frame">
  <div class="side before"><img class="ground"><img class="veil"><span></span></div>
  <div class="side after"><img class="ground"><img class="veil"><span></span></div>
  <div class="line"><div class="handle" role="slider" tabindex="0"></div></div>
</div>
<label class="opacity"><span></span><input type="range" min="0" max="100" step="5"><output></output>
</label>
"""
_CSS = """
.frame {
  --at: 50%; position: relative; overflow: hidden; width: 100%; cursor: ew-resize;
  border-radius: var(--st-base-radius); touch-action: pan-y; user-select: none;
}
.side, .side img { position: absolute; inset: 0; width: 100%; height: 100%; }
.side img[hidden] { display: none; }
.side.before { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.side.after { clip-path: inset(0 0 0 var(--at)); }
.veil { opacity: var(--opacity); }
.side span {
  position: absolute; bottom: 0.5rem; max-width: 60%; padding: 0.1rem 0.5rem;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 0.8rem;
  color: var(--st-text-color); background: var(--st-background-color); opacity: 0.88;
  border-radius: var(--st-base-radius);
}
.side.before span { left: 0.5rem; }
.side.after span { right: 0.5rem; }
.line {
  position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / 45%);
}
.handle {
  position: absolute; top: 50%; left: 50%; width: 2.25rem; height: 2.25rem;
  transform: translate(-50%, -50%); border-radius: 50%; background: #fff; cursor: ew-resize;
  box-shadow: 0 0 0 1px rgb(0 0 0 / 45%), 0 1px 4px rgb(0 0 0 / 35%);
}
.handle::before, .handle::after {
  content: ""; position: absolute; top: 50%; width: 0.45rem; height: 0.45rem;
  border: solid #1b2430; border-width: 2px 2px 0 0;
}
.handle::before { left: 0.45rem; transform: translateY(-50%) rotate(-135deg); }
.handle::after { right: 0.45rem; transform: translateY(-50%) rotate(45deg); }
.handle:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.opacity {
  display: flex; align-items: center; gap: 0.75rem; margin-top: 0.6rem;
  font-size: 0.875rem; color: var(--st-text-color);
}
.opacity input {
  appearance: none; flex: 1; min-width: 4rem; height: 0.25rem; border-radius: 0.15rem;
  cursor: pointer;
  background: linear-gradient(
    to right, var(--st-primary-color) var(--filled), var(--st-border-color) var(--filled));
}
.opacity input::-webkit-slider-thumb {
  appearance: none; width: 0.9rem; height: 0.9rem; border-radius: 50%;
  background: var(--st-primary-color);
}
.opacity input::-moz-range-thumb {
  width: 0.9rem; height: 0.9rem; border: none; border-radius: 50%;
  background: var(--st-primary-color);
}
.opacity input:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 6px; }
.opacity output { min-width: 3rem; text-align: right; font-variant-numeric: tabular-nums; }
"""
# Where the divider is stays in the browser. The opacity goes to Python when it is let go, for
# downloads; until then nothing runs. Labels go in by textContent only: they may be class names.
_JS = """
const STEPS = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10 }
const ENDS = { Home: 0, End: 100 }
export default function ({ data, parentElement, setStateValue }) {
  const find = selector => parentElement.querySelector(selector)
  const frame = find(".frame"), handle = find(".handle"), slider = find(".opacity input")
  for (const [name, side] of [["before", data.before], ["after", data.after]]) {
    const [ground, veil] = find(".side." + name).querySelectorAll("img")
    ground.src = side.ground
    ground.alt = side.label
    veil.hidden = !side.veil
    veil.alt = ""
    if (side.veil) veil.src = side.veil
    ground.draggable = veil.draggable = false
    find(".side." + name + " span").textContent = side.label
  }
  frame.style.aspectRatio = data.ratio
  const before = find(".side.before span"), after = find(".side.after span")
  const fits = (label, share) => {
    label.style.visibility = label.offsetWidth + 16 > frame.offsetWidth * share ? "hidden" : ""
  }
  const place = share => {
    const at = Math.min(100, Math.max(0, share))
    fits(before, at / 100)
    fits(after, 1 - at / 100)
    frame.dataset.at = String(at)
    frame.style.setProperty("--at", at + "%")
    handle.setAttribute("aria-valuenow", String(Math.round(at)))
    handle.setAttribute("aria-valuetext",
      Math.round(at) + " % " + data.before.label + ", the rest " + data.after.label)
  }
  handle.setAttribute("aria-label", data.label)
  handle.setAttribute("aria-valuemin", "0")
  handle.setAttribute("aria-valuemax", "100")
  handle.setAttribute("aria-orientation", "horizontal")
  // What is compared has changed: it starts where it is best seen.
  const fresh = frame.dataset.start !== String(data.at)
  frame.dataset.start = String(data.at)
  place(fresh ? data.at : Number(frame.dataset.at))
  const follow = event => {
    const box = frame.getBoundingClientRect()
    place(100 * (event.clientX - box.left) / box.width)
  }
  frame.onpointerdown = event => {
    if (event.button) return
    event.preventDefault()
    handle.focus({ preventScroll: true })
    frame.setPointerCapture(event.pointerId)
    follow(event)
  }
  frame.onpointermove = event => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event)
  }
  handle.onkeydown = event => {
    if (!(event.key in STEPS) && !(event.key in ENDS)) return
    event.preventDefault()
    place(event.key in ENDS ? ENDS[event.key] : Number(frame.dataset.at) + STEPS[event.key])
  }
  find(".opacity span").textContent = data.opacityLabel
  const show = () => {
    find(".opacity output").textContent = slider.value + " %"
    slider.style.setProperty("--filled", slider.value + "%")
    frame.style.setProperty("--opacity", String(slider.value / 100))
  }
  if (!slider.dataset.moving) slider.value = String(Math.round(100 * data.opacity))
  show()
  slider.oninput = () => { slider.dataset.moving = "yes"; show() }
  slider.onchange = () => {
    slider.dataset.moving = ""
    setStateValue("opacity", Number(slider.value) / 100)
  }
}
"""
_mount = st.components.v2.component("bitlens.divider", html=_HTML, css=_CSS, js=_JS)


@dataclass(frozen=True)
class Side:
    """What is to be seen on one side: data URLs of a picture and of a veil over it, or none."""

    label: str
    ground: str
    veil: str | None = None


def divider(
    label: str,
    before: Side,
    after: Side,
    size: tuple[int, int],
    opacity: float,
    key: str,
    on_opacity: Callable[[float], None],
    at: int = 50,
) -> None:
    """Show two sides of `size` (width, height), divided first `at` percent of the width.

    `on_opacity` hears the veils' opacity, 0 to 1.
    """

    def on_opacity_change() -> None:
        share = st.session_state[key].opacity
        if isinstance(share, (int, float)) and 0 <= share <= 1:
            on_opacity(float(share))

    data = {
        "label": clean(label),
        "before": {**asdict(before), "label": clean(before.label)},
        "after": {**asdict(after), "label": clean(after.label)},
        "ratio": f"{size[0]} / {size[1]}",
        "opacity": opacity,
        "at": at,
        "opacityLabel": "Opacity of the map",
    }
    _mount(key=key, data=data, on_opacity_change=on_opacity_change)
