"""Keep the few most recently used results of costly work, for worker threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """A bounded map that makes what it lacks."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, key: Hashable) -> T | None:
        """Return the entry of a key, or None where there is none."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the entry of a key, made by `make` where there is none."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        made = make()
        with self._lock:
            made = self._entries.setdefault(key, made)  # of two made at once, all use the first
        self.put(key, made)
        return made

    def put(self, key: Hashable, value: T) -> None:
        """Set the entry of a key, and drop the one that was not used for longest."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
