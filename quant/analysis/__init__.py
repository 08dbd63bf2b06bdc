"""What quantization does to one layer, and that to the answer.

Read `sensitivity` (how far each layer's bits move the answer), `sensitivity_estimation`, `widths`
(where each width is held), `damage` (the whole shared out) and `layer_errors` (every layer's own
error), `anatomy` (one layer taken apart), `clipping` (thresholds behind a LayerNorm).
"""
