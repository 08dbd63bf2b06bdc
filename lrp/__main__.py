"""Command line: `python -m lrp explain`, `python -m lrp scores`, `python -m lrp faithfulness`."""

from assets.terminal import choose, start
from lrp.commands import explain, faithfulness, scores

COMMANDS = {"explain": explain, "scores": scores, "faithfulness": faithfulness}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit code."""
    return choose("python -m lrp", "Relevance of a decision.", COMMANDS, arguments)


if __name__ == "__main__":
    start(main)
