"""The Budget page: spend bits, and see at once what that gives.

Read `settings` (what bits are spent by) with `locks`, `table` (all budgets, priced) and `slider`,
`live` (the measurement that a release starts); below it, `tabs`: `trade_off` with `sweep`,
`sensitivities`, `scores`, `allocation_files`. `charts` draws.
"""
