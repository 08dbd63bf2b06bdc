"""A model by its name, with its weights.

Read `architectures` (the three bundled ones, as keywords), `manifest` (what is known of their
weights), `checkpoints` (a file as weights), `download` (timm's own), `load` (a model ready to run).
"""
