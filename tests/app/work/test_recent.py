"""The bounded map of the worker."""

from app.work.wanted import Recent


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


def test_a_peek_makes_nothing_and_counts_as_a_use() -> None:
    kept = Recent[str](max_entries=2)
    assert kept.peek("a") is None
    kept.put("a", "A")
    kept.put("b", "B")
    assert kept.peek("a") == "A"
    kept.put("c", "C")  # drops b
    assert [kept.peek(k) for k in "abc"] == ["A", None, "C"]
    kept.put("a", "other")
    assert kept.peek("a") == "other"


def test_of_two_made_at_once_all_get_the_first() -> None:
    kept: Recent[str] = Recent(max_entries=2)

    def slow() -> str:
        assert kept.get("key", lambda: "quick") == "quick"  # another thread, in between
        return "slow"

    assert kept.get("key", slow) == "quick"
    assert kept.peek("key") == "quick"
