"""Several configurations on the same images.

Read `calibrating` (a model's calibration, kept and shared) and `measuring` (variants of the model,
kept in the history), then `preset_comparison` (quantizers at several widths) and
`objective_sweep` (objectives at several budgets).
"""
