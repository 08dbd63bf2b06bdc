"""The Layers page: what a layer's quantizer does to it.

Read `controls` (which layer, which widths), then a section each: `spread`, `clipping`, `attention`
and `widths`. `charts` draws.
"""
