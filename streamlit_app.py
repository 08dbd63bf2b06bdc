"""Bitlens: see where a vision transformer's decision comes from, and spend bits where it matters.

Run with `make run`, or `streamlit run streamlit_app.py`. Streamlit imports this file once, for the
server that it is to run, and runs it as the script of every session.
"""

import streamlit as st

from app import door, first_screen


def pages() -> None:
    """Show the dashboard."""
    st.set_page_config(page_title="Bitlens", page_icon="app/icon.svg", layout="wide")
    page = st.navigation(
        [
            st.Page(
                "app/views/explain.py",
                title="Explain",
                icon=":material/filter_center_focus:",
                default=True,
                help="See which parts of an image speak for or against a class, layer by layer.",
            ),
            st.Page(
                "app/views/budget.py",
                title="Budget",
                icon=":material/tune:",
                help="Spend bits where they matter, and watch what that gives.",
            ),
            st.Page(
                "app/views/layers.py",
                title="Layers",
                icon=":material/stairs:",
                help="Look inside a quantized layer: its grid, its error, what clipping changes.",
            ),
            st.Page(
                "app/views/runs.py",
                title="Runs",
                icon=":material/history:",
                help="Find what was measured, and compare two runs down to single images.",
            ),
        ]
    )

    slot = st.empty()
    if first_screen.needed():
        with slot.container():
            first_screen.show()

    # torch, timm: seconds, with the example on screen
    from app.parts import idle, sidebar
    from app.state import address

    idle.watch()
    address.read()
    sidebar.show()
    slot.empty()
    page.run()
    address.show()


if __name__ == "__main__":
    pages()
else:
    server = st.App(__file__, middleware=door.MIDDLEWARE)
