"""Numbers, pictures and charts. Pure: values in, something to show out.

Read `units` (quantities in words), `heatmaps` (maps read out of relevance), `pictures`, `charts`
(by Plotly), `altair_charts` (redrawn in place); `appearance` asks whether the page is dark.
"""
