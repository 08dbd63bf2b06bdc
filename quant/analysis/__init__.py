"""What quantization does to one layer, and that to the answer.

Read `sensitivity` (how far each layer's bits move the answer) with `layer_errors` and
`rank_correlation`; `sqnr_by_width` (every layer's own error), `anatomy` (one layer taken apart),
`clipping` (thresholds behind a LayerNorm).
"""
