"""Run every measurement, or those named: `python -m bench [relevance] [quantization] ...`."""

import sys

from bench import allocation, families, quantization, relevance, slider
from bench.load import sessions

SUITES = {
    "relevance": relevance.main,
    "families": families.main,
    "quantization": quantization.main,
    "allocation": allocation.main,
    "slider": slider.main,
    "sessions": sessions.main,
}


def main(names: list[str]) -> int:
    """Run the suites named, or all."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"bench: no suite {unknown[0]!r}: use {', '.join(SUITES)}", file=sys.stderr)
        return 2
    for name in names or SUITES:
        SUITES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
