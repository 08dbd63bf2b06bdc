"""Relevance as a picture.

Read `places` (tokens back to their places in the image), `heatmap` (one map an image, at any
depth), `cells` (the cells that images are cut into), `pictures` (drawn over the image), `export`
(arrays and a description).
"""
