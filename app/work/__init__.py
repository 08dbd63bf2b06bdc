"""What takes over a second: jobs, and everything that is kept.

Read `job`, `jobs` (two queues) and `wanted` (have it, as it is kept, or have it made); `digests`
(what files of weights hold now) and `models` (what all pages share); then what belongs to a picture
(`explanations`), a layer (`layer_analyses`), a budget (`spending`, `predictions`) and all runs
(`history`, `reports`, `exports`).
"""
