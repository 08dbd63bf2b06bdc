"""Choose every layer's quantizer and integer weights from a few unlabelled images.

Read `presets` (the choices, as data), `origins`, `streams` and `turning` (the float model with its
residual streams turned), `survey` (what it is made of, rewritten), `linear_solver`,
`product_solver` (one layer) and `residual_stream` (what lies between layers), `passes` (all of it
at one width), `side_by_side` (several passes at once), `store` (a pass as a file), `calibration`
(all passes of a model, shared by threads).
"""
