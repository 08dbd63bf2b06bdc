"""What a session chose, and the address that says so: the only spellers of session keys.

Read `entry` (a key, its default, its place in links), `selection` (model, image, class, layer),
then `quantizer`, `budget` and `runs` (what pages add to it), and `address` (links).
"""
