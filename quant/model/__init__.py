"""A calibrated model that runs: quantized, traced, or in float with its layers heard.

Read `quantized_model` (the whole of mixed precision), `quantized_trace` (relevance through it),
`float_layers` (what layers see in float, and the float model again from one layer on).
"""
