"""Accuracy on images: knows no quantizer.

Read `answers` (image by image) and `intervals` (how sure), `image_set` and `logits` (how images
are run), `stream` (an evaluation as it comes), `comparison` (of two), `clustered` (of several
runs on the same images), `prediction` (of accuracies, from others), `cross_validation` (how good
that is), `label_order` (whether the classes may be in another order).
"""
