"""What takes over a second: jobs, and everything that is kept.

Read `jobs` (two queues), `wanted` (have it, or have it made) and `recent` (the last few results);
`models` (what all pages share); then what belongs to a picture (`explanations`), a layer
(`layer_analyses`), a budget (`budget_axis`, `spending`) and a run (`history`, `run_explanations`).
"""
