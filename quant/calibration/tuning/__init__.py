"""Learn what a calibration pass left to chance: roundings, ranges and biases, block after block.

Read `learned` (one layer, as parameters), `running` (a model and its blocks, with some layers
quantized), `block` (one block), `tuner` (all blocks of an allocation), `kept` (as files).
"""
