"""Pictures prepared for a model, and which of them calibrate or are measured.

Read `image_set` (what a model sees), `selection` (draws and batches of it), `options` (a command
line's arguments for a model and its images).
"""
