"""The commands of `python -m lrp`: each adds its arguments, and runs.

Read `explain` (one image), `scores` (layers), `faithfulness` (methods). They share `options`.
"""
