"""Arithmetic on tensors: no model, no file.

Read `bits` (an allocation is data), `qparams` (the uniform affine quantizer, and shapes of scales),
`quantizers` (all kinds for inputs), `quantizer_search` (which one), `rounding` (integer weights),
`transforms` and `reparameterise` (changes of an input that its weights undo).
"""
