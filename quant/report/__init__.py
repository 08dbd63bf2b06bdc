"""A report of runs, as one HTML file to hand over.

Read `subject` (what it is about), then its parts in their order: `finding`, `choice` with
`purchases`, `layers`, `trade_off`, `classes`, `heatmaps`, `exported`, `repeat`, `method`; `page`
puts them together, and `drawing` is what they are drawn with.
"""
