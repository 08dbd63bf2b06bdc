"""Pictures, before any model has a say: bundled digits, a user's folders and single files.

Read `ink` (strokes on a canvas), `digits` (cluttered digits with their true masks), `sources`
(pictures with labels: the digits, or a folder), `uploads` (one picture from anywhere).
"""
