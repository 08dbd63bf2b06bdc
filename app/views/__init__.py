"""One script a page, run by st.navigation: `explain`, `budget`, `layers`, `runs`.

Each picks what its page shows out of the room of the same name.
"""
