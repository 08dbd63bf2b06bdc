"""What a session chose, and the address that says so: the only spellers of session keys.

Read `selection` (model, image, class, device), then `quantizer`, `budget` and `runs` (what pages
add to it), and `address` (links).
"""
