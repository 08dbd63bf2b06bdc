"""The Budget page: spend bits, and see at once what that gives.

Read `settings` (the controls) and `objective` (what bits are spent by), `table` (all budgets,
priced) and `slider`, `live` (the measurement that a release starts); below it, `tabs`: `trade_off`
with `sweep`, `sensitivities`, `scores`, `allocation_files`. `charts` draws.
"""
