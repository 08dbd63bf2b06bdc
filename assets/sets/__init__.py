"""Pictures prepared for a model, and which of them calibrate or are measured.

Read `image_set` (what a model sees), `contents` (which images are the same picture), `selection`
(draws and batches), `options` (a command line's arguments for a model and its images), `telling`
(what a command says of its images before it works).
"""
