"""One quantized layer.

Read `quantized` (as data), `integer` (products of integers, where the CPU has them), `runtime`
(made ready to run, and kept while there is room).
"""
