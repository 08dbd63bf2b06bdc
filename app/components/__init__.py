"""Small components of our own, where Streamlit has no element for the purpose."""
