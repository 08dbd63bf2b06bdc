"""The bounded cache: its limit, its order, and threads that want one value."""

import threading
import time
from dataclasses import dataclass

import pytest

from quant.layers.runtime import Cache


@dataclass(eq=False)
class Value:
    nbytes: int


def test_it_stays_under_its_limit_and_drops_the_longest_unused() -> None:
    cache, made = Cache(100), []

    def get(key: str, size: int = 30) -> Value:
        return cache.get(key, lambda: made.append(key) or Value(size))

    kept = {key: get(key) for key in "abc"}
    assert get("a") is kept["a"]  # now b is the longest unused
    get("d")
    assert cache.nbytes == 90
    assert made == list("abcd")
    assert get("a") is kept["a"]
    assert get("c") is kept["c"]
    get("b")
    assert made == list("abcdb")
    get("e", 80)
    assert cache.nbytes == 80
    assert made == list("abcdbe")


def test_one_value_beyond_the_limit_is_given_and_then_dropped() -> None:
    cache = Cache(10)
    big = cache.get("big", lambda: Value(50))
    assert cache.get("big", lambda: Value(1)) is big
    cache.get("small", lambda: Value(5))
    assert cache.nbytes == 5


def test_each_value_is_made_once_for_all_threads() -> None:
    cache, made, found = Cache(1000), [], []
    start = threading.Barrier(8)

    def make(key: int) -> Value:
        made.append(key)
        time.sleep(0.01)
        return Value(1)

    def work() -> None:
        start.wait()
        found.append([cache.get(key, lambda key=key: make(key)) for key in range(5)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(5))
    assert len(found) == 8
    assert all(values == found[0] for values in found)


def test_what_cannot_be_made_is_tried_again() -> None:
    cache = Cache(10)

    def fail() -> Value:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("a", fail)
    assert cache.get("a", lambda: Value(3)).nbytes == 3
    assert cache.nbytes == 3
