"""Arithmetic on tensors: no model, no file.

Read `formats` (what widths there are), `targets` (which of them hardware has), `bits` (an
allocation is data), `qparams` (the uniform affine quantizer, and shapes of scales), `quantizers`
(all kinds for inputs), `quantizer_search` (which one), `floats` (small floats, blocks, palettes),
`rounding` (weights), `transforms`, `balance` and `reparameterise` (changes of an input that its
weights undo), `views` (more images out of few).
"""
