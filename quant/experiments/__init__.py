"""Several configurations on the same images.

Read `preset_comparison` (quantizers at several widths), `objective_sweep` (objectives at several
budgets) and `sweep_table` (its rows in words).
"""
