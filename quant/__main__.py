"""Command line: `python -m quant sensitivity`, `allocate`, `evaluate`, `sweep` and others."""

from __future__ import annotations

from assets.terminal import Parser, start
from quant.commands import allocate, compare, evaluate, runs, sensitivity, sweep

COMMANDS = {
    "evaluate": evaluate,
    "compare": compare,
    "sensitivity": sensitivity,
    "allocate": allocate,
    "sweep": sweep,
    "runs": runs,
}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit code."""
    options = _parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def _parser() -> Parser:
    parser = Parser(prog="python -m quant", description="Quantize and measure.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.SAYS)
        one.add_argument("--json", metavar="FILE", help="write here (- is standard output)")
        one.set_defaults(run=command.run)
        command.add(one)
    return parser


if __name__ == "__main__":
    start(main)
