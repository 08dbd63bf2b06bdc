"""The lesson on one number line, which needs no model.

Read `levels` (the arithmetic), `charts`, `panel`.
"""
