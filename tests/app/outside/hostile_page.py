"""A page for the tests: hostile texts, escaped, in every kind of element."""

import streamlit as st

from app.text import Markdown, escape
from tests.app.outside.hostile_texts import HOSTILE

for number, text in enumerate(HOSTILE):
    with st.container(key=f"text-{number}"):
        st.markdown(escape(text))
        st.caption(Markdown("{}").format(text))
        st.error(escape(text))
        st.button(escape(text), key=f"button-{number}", help=escape(text))
        st.radio(escape(text), [text], key=f"radio-{number}", format_func=lambda text: escape(text))
        st.metric(escape(text), escape(text), escape(text), delta_arrow="off")
        st.progress(0.5, escape(text))
        with st.expander(escape(text)):
            st.empty()
st.button("All drawn")
