"""The bounded map of the worker."""

from __future__ import annotations

from app.recent import Recent


def test_it_makes_once_and_drops_the_least_recently_used() -> None:
    kept, made = Recent[str](max_entries=2), []

    def get(key: str) -> str:
        return kept.get(key, lambda: made.append(key) or key.upper())

    assert [get(k) for k in "aba"] == ["A", "B", "A"]
    assert made == ["a", "b"]
    get("c")  # drops b, which was used longer ago than a
    get("a")
    assert made == ["a", "b", "c"]
    get("b")
    assert made == ["a", "b", "c", "b"]
