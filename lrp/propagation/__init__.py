"""Relevance: rules, one forward pass that keeps the tape, one backward pass a class.

Read `rules` (the choices, as data), `equations` (each rule as a modified gradient), `trace` (the
forward pass), `relevance` (the backward pass), `scores` (layers' shares over many images).
"""
