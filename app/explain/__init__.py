"""The Explain page: where a decision comes from.

Read `question` (what is asked, and its answer), `controls`, `heatmap`; then a tab each: `depth`
with `conservation` and `layer_detail`, `methods` with `faithfulness`, `downloads`. `charts` draws.
"""
