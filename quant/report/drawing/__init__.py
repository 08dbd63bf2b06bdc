"""How reports, and the page, write quantities and paint; HTML and SVG that need nothing else.

Read `units` (quantities in words), `colours` (palettes for every eye), `widths` (what bits look
like), `elements` (HTML in which text from outside stays text), `svg` (charts of a few shapes).
"""
