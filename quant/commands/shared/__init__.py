"""What several commands share.

Read `options` (what they ask for), `evaluations` (how they measure), `losses` (how they score
layers), `text` (what they say of numbers) and `within` (how a loss that is accepted is kept to).
"""
