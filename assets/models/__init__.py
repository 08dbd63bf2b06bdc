"""A model by its name, with its weights.

Read `architectures` (the three bundled ones, as keywords), `manifest` (what is known of their
weights), `reading` (what a file holds), `checkpoints` (the weights in it), `fitting` (weights in a
model), `download` (timm's own), `load` (a model ready to run).
"""
