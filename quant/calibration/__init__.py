"""Choose every layer's quantizer and integer weights from a few unlabelled images.

Read `presets` (the choices, as data), `origins`, `streams` and `turning` (the float model with its
residual streams turned), `survey` (what it is made of, rewritten), `linear_solver`,
`product_solver` (one layer) and `residual_stream` (what lies between layers), `passes` (all of it
at one width), `store` (a pass as a file), `files` (those of one calibration), then the room
`tuning` (layers that are learned on), and `calibration` (all of a model, shared by threads).
"""
