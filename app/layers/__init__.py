"""The Layers page: what a layer's quantizer does to it.

Read `controls` (which layer, which widths), then a tab each: `spread`, `clipping` with
`range_charts`, `attention` with `attention_maps`, `widths` with `width_strip`. `charts` draws.
"""
