"""Measurements: ratios taken in one run, medians with their spread. Nothing here asserts a time."""
