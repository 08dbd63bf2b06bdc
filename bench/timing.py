"""Time functions against each other, in turn, so that a drifting machine hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def ratios(
    runs: Mapping[str, Callable[[], object]], reference: str, rounds: int = 7
) -> dict[str, tuple[float, float, float]]:
    """Return (median, minimum, maximum) of each run's time over the reference's, round by round."""
    for run in runs.values():
        run()  # warm-up
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        seconds = {name: _seconds(run) for name, run in runs.items()}
        for name, spent in seconds.items():
            found[name].append(spent / seconds[reference])
    return {name: (statistics.median(r), min(r), max(r)) for name, r in found.items()}


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def show(title: str, found: Mapping[str, tuple[float, float, float]]) -> None:
    """Print ratios as a table."""
    print(f"\n{title}\n{'':<44} median (min to max)")
    for name, (median, low, high) in found.items():
        print(f"{name:<44} {median:6.2f} ({low:.2f} to {high:.2f})")
