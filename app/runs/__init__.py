"""The Runs page: everything that was measured, one run, two beside each other.

Read `listing` (all), `detail` (one), `pair` (two, as values) and `compare` (two, as shown),
`changed` (images answered differently), `heatmap` (of one such image); `charts` draws.
"""
