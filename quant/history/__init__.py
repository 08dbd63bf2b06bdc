"""Every evaluation kept, image by image.

Read `recipe` (all it takes to repeat one), `runs` (the history), `database` (its SQLite file) with
its `schema` and `rows`, `record` (keep an evaluation while it streams), `float_logits` (float's, so
that it runs once).
"""
