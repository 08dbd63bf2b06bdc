"""The commands of `python -m quant`: each adds its arguments, and runs.

Read `evaluate` (one configuration) and `allocate` (one budget), then `sensitivity`, `compare`,
`sweep` with `sweep_report`, `runs` and `doctor`. They share `options`, `evaluations`, `losses` and
`text`.
"""
