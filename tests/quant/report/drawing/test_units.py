"""Quantities as they are written."""

import pytest

from quant.report.drawing import units


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (units.size(512), "512 B"),
        (units.size(93_600), "93.6 kB"),
        (units.size(2_273_000), "2.27 MB"),
        (units.size(999_600), "1.00 MB"),
        (units.size(344e6), "344 MB"),
        (units.large(21.745e9), "21.7 G"),
        (units.large(7), "7"),
        (units.large(5_717_416), "5.72 M"),
        (units.share(0.9312), "93.1 %"),
        (units.share(0.00421, 2), "0.42 %"),
        (units.interval(0.88, 0.948), "88.0 to 94.8 %"),
        (units.points(-0.0121), "−1.2"),
        (units.points(0.004), "+0.4"),
        (units.points(-0.0004), "0.0"),
        (units.points_between(-0.056, 0.004), "−5.6 to +0.4"),
        (units.factor(7.96), "8.0×"),
        (units.bits(4), "4.0 bit"),
        (units.duration(0.2), "1 s"),
        (units.duration(59.4), "59 s"),
        (units.duration(83), "1 min 23 s"),
        (units.count(12345), "12,345"),
        (units.time(0.0143), "14 ms"),
        (units.time(0.00001), "1 ms"),
        (units.time(0.9999), "1 s"),
        (units.time(83), "1 min 23 s"),
    ],
)
def test_quantities(written: str, expected: str) -> None:
    assert written == expected
