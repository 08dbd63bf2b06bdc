"""Small components of our own, where Streamlit has no element for the purpose.

Read `budget_table` (all the slider can show), `budget_slider` and `plain_budget` (the slider, with
and without a script in the browser), `live_slider`, `divider`, `thumbnails`, `paste_box`.
"""
