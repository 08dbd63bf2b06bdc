"""Spend a budget of bits.

Read `objectives` (what each width of a layer is expected to lose), `cost`, `budget` (limits and
what they leave to choose) and `infeasible` (where they leave nothing); `knapsack` and `bounds`
(what no allocation can beat), `local_search` and `path` (all budgets at once), `exact` (one
budget); `allocation_file` (what comes of it).
"""
