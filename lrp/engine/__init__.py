"""Run an unmodified model operation by operation.

Read `scope` (which module is running), `interpreter` (each operation as a method to override),
`layers` and `names` (what can be quantized, by name: the spine), `inputs` (models and
image sets); then `progress`, `side_by_side`, `device`, `versions` and `ranks`, which any long
computation needs.
"""
