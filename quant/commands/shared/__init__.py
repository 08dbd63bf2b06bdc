"""What several commands share.

Read `options` (what they ask for), `evaluations` (how they measure), `losses` (how they score
layers) and `text` (what they say of numbers).
"""
