"""Find text that Streamlit would draw as Markdown and that may come from outside.

`make lint` runs it over `app/` and `streamlit_app.py`. What is drawn is a literal, a constant, goes
through `app.text.escape`, or is a literal `Markdown` with values put in, which escapes them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What Streamlit's elements draw as Markdown: by place, or by name.
BODY, LABEL, OPTIONS = ((0, "body"),), ((0, "label"),), ((0, "label"), (1, "options"))
FORMAT = "format_func"
DRAWN: dict[str, tuple[tuple[int, str], ...]] = {
    **dict.fromkeys(("markdown", "caption", "title", "header", "subheader", "badge"), BODY),
    **dict.fromkeys(("error", "warning", "info", "success", "toast"), BODY),
    **dict.fromkeys(("button", "download_button", "form_submit_button", "link_button"), LABEL),
    **dict.fromkeys(("checkbox", "toggle", "slider", "select_slider", "file_uploader"), LABEL),
    **dict.fromkeys(("selectbox", "multiselect", "text_input", "text_area", "number_input"), LABEL),
    **dict.fromkeys(("expander", "popover", "status", "color_picker", "date_input"), LABEL),
    **dict.fromkeys(("radio", "pills", "segmented_control"), (*OPTIONS, (-1, FORMAT))),
    **dict.fromkeys(("menu_button", "camera_input", "audio_input", "time_input"), LABEL),
    "metric": ((0, "label"), (1, "value"), (2, "delta")),
    "page_link": ((-1, "label"),),
    "progress": ((1, "text"),),
    "spinner": ((0, "text"),),
    "image": ((1, "caption"),),
    "tabs": ((0, "tabs"),),
}
ALWAYS = "help"  # of every element, and of columns of tables
NEVER = {"st.write", "st.html", "st.exception", "st.latex", "st.dialog"}  # they draw too much
SAFE = {"escape", "told"}
MARKDOWN = "Markdown"


def complaints_of(source: str, name: str) -> Iterator[str]:
    """Yield a line for each text of a file's source that is drawn and might be from outside."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        drawn = [value for value in _drawn(node) if not safe(value)]
        if called(node) == MARKDOWN and not all(map(_literal, node.args)):
            drawn.append(node)
        for value in drawn:
            text = ast.unparse(value)
            yield f"{name}:{value.lineno}: {text} is drawn as Markdown: use escape() of app.text"


def called(node: ast.Call) -> str:
    """Return what is called: "error" of `st.error(...)`."""
    return ast.unparse(node.func).rpartition(".")[2]


def _drawn(node: ast.Call) -> Iterator[ast.expr]:
    if ast.unparse(node.func) in NEVER:
        yield node
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if not isinstance(node.func, ast.Attribute):
        return  # a function of our own, which escapes what it is given
    if ALWAYS in keywords:
        yield keywords[ALWAYS]
    for place, name in DRAWN.get(node.func.attr, ()):
        if name == "options" and FORMAT in keywords:
            continue  # options are drawn as it says
        if name in keywords:
            yield keywords[name]
        elif 0 <= place < len(node.args):
            yield node.args[place]


def safe(node: ast.expr) -> bool:
    """Return whether an expression can hold nothing from outside, or only escaped."""
    match node:
        case ast.IfExp(body=one, orelse=other):
            return safe(one) and safe(other)
        case ast.BoolOp(values=values):
            return all(map(safe, values))
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return all(map(safe, elements))
        case ast.Lambda(body=body):
            return safe(body)
        case ast.Call(func=ast.Name(id=name)) if name in SAFE:
            return True
        case ast.Call(func=ast.Attribute(value=ast.Call() as made, attr="format" | "join")):
            return called(made) == MARKDOWN
        case ast.Call():
            return called(node) == MARKDOWN
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper() or name in SAFE
    return _literal(node)


def _literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def main() -> int:
    """Print what was found and return how to exit."""
    paths = {ROOT / "streamlit_app.py", *(ROOT / "app").rglob("*.py")} - {ROOT / "app" / "text.py"}
    sources = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(paths)}
    found = [line for name, source in sources.items() for line in complaints_of(source, name)]
    print("\n".join(found) or "Nothing from outside is drawn as Markdown.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
