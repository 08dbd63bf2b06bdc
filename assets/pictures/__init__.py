"""Pictures, before any model has a say: bundled digits, a user's folders and single files.

Read `ink` (strokes on a canvas), `digits` (cluttered digits with their true masks), `folders` (what
lies in a folder), `class_order` (which class each folder is), `fates` (what became of each, in
words), `uploads` (one picture from anywhere), `sources` (pictures with labels: the digits, or a
folder).
"""
