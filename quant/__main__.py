"""Command line: `python -m quant sensitivity`, `allocate`, `evaluate`, `sweep` and others."""

from assets.terminal import choose, start
from quant.commands import (
    allocate,
    compare,
    damage,
    doctor,
    evaluate,
    export,
    report,
    runs,
    sensitivity,
    sweep,
)

COMMANDS = {
    "evaluate": evaluate,
    "compare": compare,
    "sensitivity": sensitivity,
    "damage": damage,
    "allocate": allocate,
    "sweep": sweep,
    "export": export,
    "runs": runs,
    "report": report,
    "doctor": doctor,
}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit code."""
    return choose("python -m quant", "Quantize and measure.", COMMANDS, arguments)


if __name__ == "__main__":
    start(main)
