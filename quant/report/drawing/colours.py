"""Colours and symbols that every eye tells apart, on light and on dark ground."""

from typing import NamedTuple

# Cividis, cut where it would melt into the page: ordered for every kind of colour vision.
LIGHT_BITS = ["#00224e", "#26416e", "#4f576c", "#737475", "#989067", "#bfab54", "#dcc437"]
DARK_BITS = ["#3f5a8c", "#5a6684", "#757779", "#928c73", "#b4a369", "#d6bc55", "#fee838"]
# Okabe and Ito's colours as in the theme; dashes and symbols differ too, for every eye.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b8609a", "#b87a00", "#3596d4", "#5c6673")
DARK = ("#56b4e9", "#e8743b", "#2bbf93", "#cc79a7", "#e69f00", "#f0e442", "#9aa5b1")
INK = ("#1b2430", "#e6ebf2")  # of lines and text


class Marker(NamedTuple):
    """How one kind of configuration is drawn: a symbol of Plotly's, and a colour by theme."""

    symbol: str
    light: str
    dark: str


MARKERS = {
    "float": Marker("diamond", "#5c6673", "#9aa5b1"),
    "uniform": Marker("square", "#b87a00", "#e69f00"),
    "sensitivity": Marker("circle", "#0072b2", "#56b4e9"),
    "lrp-x-sensitivity": Marker("triangle-up", "#009e73", "#2bbf93"),
    "lrp": Marker("triangle-down", "#d55e00", "#e8743b"),
    "random": Marker("x", "#b8609a", "#cc79a7"),
    "reversed": Marker("cross", "#3596d4", "#f0e442"),
}
OTHER = Marker("star", *INK)
