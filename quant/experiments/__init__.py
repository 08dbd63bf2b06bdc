"""Several configurations on the same images.

Read `calibrating` (a model's calibration, kept and shared) and `measuring` (variants of the model,
kept in the history), then `preset_comparison` (quantizers at several widths), `objective_sweep`
(objectives at several budgets) and `within_loss` (the least budget that loses little enough).
"""
