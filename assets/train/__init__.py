"""How the bundled weights were made: `python -m assets.train MODEL`.

Read `learning` (one step, the whole training, the accuracy).
"""
