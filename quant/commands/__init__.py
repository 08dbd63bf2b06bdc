"""The commands of `python -m quant`: each adds its arguments, and runs.

Read `evaluate` (one configuration) and `allocate` (one budget), then `sensitivity`, `damage`,
`compare`, `sweep` with `sweep_report`, `runs`, `report`, `export` and `doctor`. What they share is
in `shared`.
"""
