"""Draw the rooms of each package, floor by floor, from the architecture test's own list.

`python scripts/draw_rooms.py` writes docs/images/rooms.svg; a test compares.
"""

import ast
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
ORDER = ("assets", "lrp", "quant", "app")  # each may import those left of it, or less
WIDTH, HEIGHT = 264, 28  # of a column, and of a floor
GAP, SPLIT, MARGIN = 8, 4, 16  # between floors, rooms, columns
PADDING = 2  # letters
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
.package { font-weight: 600; font-size: 15px }
.room { fill: #eaf2fb; stroke: #5b7fa6 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .room { fill: #1b2b3d; stroke: #7ea6d0 }
}"""


def floors(root: Path = ROOT) -> dict[str, list[list[str]]]:
    """Read FLOORS of tests/test_architecture.py: each package's rooms, from the ground up."""
    tree = ast.parse((root / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    values = (
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FLOORS"
    )
    value = next(values)
    assert value is not None
    found = ast.literal_eval(value)
    rooms = {name: [sorted(floor - {"__main__"}) for floor in found[name]] for name in ORDER}
    return {name: [floor for floor in stack if floor] for name, stack in rooms.items()}


def draw(houses: dict[str, list[list[str]]]) -> str:
    """Draw a column for each package, its ground floor at the bottom, as SVG."""
    ground = MARGIN + 24 + max(map(len, houses.values())) * (HEIGHT + GAP)
    width = len(houses) * (WIDTH + MARGIN) + MARGIN
    size = f'width="{width}" height="{ground + MARGIN}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {ground + MARGIN}" {size}>',
        f"<style>\n{STYLE}\n</style>",
    ]
    for column, (name, stack) in enumerate(houses.items()):
        left = MARGIN + column * (WIDTH + MARGIN)
        roof = ground - len(stack) * (HEIGHT + GAP)
        parts.append(_text(left + WIDTH / 2, roof - 10, name, "package"))
        for level, rooms in enumerate(reversed(stack)):
            parts += _floor(left, roof + level * (HEIGHT + GAP), rooms)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _floor(left: float, y: float, rooms: list[str]) -> list[str]:
    """Draw the rooms of a floor side by side, as wide as their names ask for."""
    spare = WIDTH - SPLIT * (len(rooms) - 1)
    letters = sum(len(room) + PADDING for room in rooms)
    parts = []
    for room in rooms:
        width = spare * (len(room) + PADDING) / letters
        box = f'x="{left:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT}"'
        parts.append(f'<rect class="room" {box} rx="4"/>')
        parts.append(_text(left + width / 2, y + HEIGHT / 2 + 4, room, "name"))
        left += width + SPLIT
    return parts


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(floors()), encoding="utf-8")
