"""The Budget page: spend bits, and see at once what that gives.

Read `settings` (the controls) and `objective` (what bits are spent by), `table` (all budgets,
priced) and `slider`, `live` (the measurement that a release starts); below it, `tabs`: `trade_off`
with `sweep` (which also goes down to a loss that is accepted), `sensitivities`, `scores`,
`allocation_files`. `charts` draws.
"""
