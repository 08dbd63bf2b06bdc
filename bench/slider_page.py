"""A page with nothing but the budget slider: `streamlit run bench/slider_page.py -- [busy] ...`.

Of the arguments, "busy" keeps torch multiplying matrices beside it, "separate" gives weights and
activations bits of their own, and "large" takes 36 blocks instead of 12.
"""

import sys

from app.components.budget_slider import budget_slider
from app.components.budget_table import Actions
from app.look.appearance import dark
from bench.made_up import LIVE, budget_table, keep_busy, spare_the_collector

spare_the_collector()
if "busy" in sys.argv:
    keep_busy()
budget_slider(
    budget_table(36 if "large" in sys.argv else 12, "separate" in sys.argv),
    LIVE.row,
    LIVE.locked,
    LIVE.chosen,
    "budget",
    Actions(LIVE.commit, lambda: None, LIVE.lock, LIVE.choose),
    dark=dark(),
)
