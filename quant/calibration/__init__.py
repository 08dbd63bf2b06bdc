"""Choose every layer's quantizer and integer weights from a few unlabelled images.

Read `presets` (the choices, as data), `origins` (what comes out of a LayerNorm),
`survey` (what the float model is made of, rewritten),
`linear_solver` and `product_solver` (one layer), `passes` (all layers at one width), `store` (a
pass as a file), `calibration` (all passes of a model, shared by threads).
"""
