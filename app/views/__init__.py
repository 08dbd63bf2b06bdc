"""One script a page, run by st.navigation."""
