"""A slider that speaks while it is dragged; Streamlit's own does on release only."""

import streamlit as st

from app.state.entry import Entry

_HTML = """
<label><span class="name"></span><output></output></label>
<input type="range"><div class="ends"><span></span><span></span></div>
"""
_CSS = """
label { display: flex; justify-content: space-between; align-items: baseline; }
label, .ends { font-size: 0.875rem; color: var(--st-text-color); }
output { font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
input {
  appearance: none; width: 100%; height: 0.3rem; margin: 0.75rem 0; border-radius: 0.15rem;
  cursor: pointer;
  background: linear-gradient(
    to right, var(--st-primary-color) var(--filled), var(--st-border-color) var(--filled));
}
input::-webkit-slider-thumb {
  appearance: none; width: 1rem; height: 1rem; border-radius: 50%;
  background: var(--st-primary-color);
}
input::-moz-range-thumb {
  width: 1rem; height: 1rem; border: none; border-radius: 50%;
  background: var(--st-primary-color);
}
input:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 8px; }
.ends { display: flex; justify-content: space-between; opacity: 0.7; }
"""
# At most one value every PAUSE ms goes to Python, the last one always. While the pointer is down
# the slider does not follow Python, whose answer may be to an earlier value.
_JS = """
const PAUSE = 60
export default function ({ data, parentElement, setStateValue }) {
  const slider = parentElement.querySelector("input")
  const output = parentElement.querySelector("output")
  const ends = parentElement.querySelectorAll(".ends span")
  const text = value => Number(value).toFixed(data.digits) + data.unit
  parentElement.querySelector(".name").textContent = data.label
  slider.min = data.low
  slider.max = data.high
  slider.step = data.step
  slider.setAttribute("aria-label", data.label)
  ends[0].textContent = text(data.low)
  ends[1].textContent = text(data.high)
  const moving = slider.dataset.moving === "yes"
  if (!moving) slider.value = data.value
  const show = () => {
    output.textContent = text(slider.value)
    const share = (slider.value - data.low) / (data.high - data.low)
    slider.style.setProperty("--filled", 100 * share + "%")
    slider.setAttribute("aria-valuetext", text(slider.value))
  }
  show()
  const send = () => {
    slider.dataset.timer = ""
    setStateValue("value", Number(slider.value))
  }
  slider.oninput = () => {
    show()
    slider.dataset.moving = "yes"
    if (!slider.dataset.timer) slider.dataset.timer = String(setTimeout(send, PAUSE))
  }
  slider.onchange = () => {
    clearTimeout(Number(slider.dataset.timer))
    slider.dataset.moving = ""
    send()
  }
}
"""
_mount = st.components.v2.component("bitlens.live_slider", html=_HTML, css=_CSS, js=_JS)


def live_slider(
    label: str,
    low: float,
    high: float,
    step: float,
    entry: Entry[float],
    unit: str = "",
    digits: int = 1,
) -> None:
    """Show a slider of an entry, which is set to each value within the bounds while it moves."""

    def on_value() -> None:
        moved = st.session_state[entry.widget].value
        if isinstance(moved, (int, float)) and low <= moved <= high:
            entry.set(float(moved))

    data = {"label": label, "low": low, "high": high, "value": entry.get(), "step": step}
    data |= {"unit": unit, "digits": digits}
    _mount(key=entry.widget, data=data, on_value_change=on_value)
