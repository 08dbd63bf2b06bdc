"""Write quantities the same way everywhere."""

import math


def share(value: float, digits: int = 1) -> str:
    """0.9312 -> "93.1 %"."""
    return f"{100 * value:.{digits}f} %"


def interval(low: float, high: float) -> str:
    """0.88, 0.948 -> "88.0 to 94.8 %"."""
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def points(value: float) -> str:
    """A difference of shares, in percentage points: -0.0121 -> "−1.2", 0.004 -> "+0.4"."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def points_between(low: float, high: float) -> str:
    """An interval of such a difference: -0.056, 0.004 -> "−5.6 to +0.4"."""
    return f"{points(low)} to {points(high)}"


def size(count: float) -> str:
    """Bytes in decimal units: 2304000 -> "2.30 MB"."""
    return f"{_scaled(count)}B"


def large(count: float) -> str:
    """A large count, as of parameters or BitOps: 5717416 -> "5.72 M", 1.3e10 -> "13.0 G"."""
    return _scaled(count).rstrip()


def bits(value: float) -> str:
    """An average of bits: 4 -> "4.0 bit"."""
    return f"{value:.1f} bit"


def factor(value: float) -> str:
    """How many times: 7.96 -> "8.0×"."""
    return f"{value:.1f}×"


def duration(seconds: float) -> str:
    """A rough time: 7.2 -> "7 s", 83 -> "1 min 23 s"."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def decibels(value: float) -> str:
    """A ratio of signal to noise: 25.21 -> "25.2 dB"; without noise "no error"."""
    if value == math.inf:
        return "no error"
    return "no signal" if value == -math.inf else f"{value:.1f} dB".replace("-", "−")


def time(seconds: float) -> str:
    """A time that may be short: 0.0143 -> "14 ms", 7.2 -> "7 s"."""
    return f"{max(1, round(1000 * seconds))} ms" if seconds < 0.9995 else duration(seconds)


def count(value: int) -> str:
    """Thousands in groups: 12345 -> "12,345"."""
    return f"{value:,}"


def _scaled(value: float) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or prefix == "T":
            break
        value /= 1000
    digits = 0 if not prefix else 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {prefix}"
