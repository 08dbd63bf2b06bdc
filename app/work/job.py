"""A piece of long work: who asked for it, how far it is, and what became of it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import Any

from lrp.engine.progress import Cancelled, Progress

Work = Callable[[Progress], Any]

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
PACE = 8  # the time left is estimated from this many reports

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """A piece of work.

    Attributes:
        work: returns the result, or a generator that returns it and gives way at each `yield`.
        brief: takes its turn before jobs that are not.
        allowed: for how many seconds it may run; None is any time.
        turns, overtaken: how often it had its turn, and how often others did since.
        used: seconds it ran, in all its turns.
    """

    key: Hashable
    title: str
    work: Work
    brief: bool = False
    allowed: float | None = None
    owners: set[str] = field(default_factory=set)
    cancel: threading.Event = field(default_factory=threading.Event)
    state: str = WAITING
    done: int = 0
    total: int = 0
    what: str = ""
    so_far: Any = None
    arrived: float = field(default_factory=time.monotonic)
    turns: int = 0
    overtaken: int = 0
    used: float = 0.0
    result: Any = None
    error: str = ""
    exception: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=PACE))
    _steps: Generator[object, None, Any] | None = None
    _turn: float = 0.0  # when its turn began

    @property
    def live(self) -> bool:
        return self.state in (WAITING, RUNNING)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def seconds_left(self) -> float | None:
        """Estimate the time left from the pace of the last reports; None while it is unknown."""
        marks = list(self.marks)  # a copy: the worker goes on adding
        if self.state != RUNNING or len(marks) < 2:
            return None
        (first, before), (last, now) = marks[0], marks[-1]
        return (last - first) * (self.total - now) / (now - before) if now > before else None

    def elapsed(self) -> float:
        """Return for how many seconds it has been running."""
        return time.monotonic() - self._turn if self.state == RUNNING else 0.0

    def report(self, done: int, total: int, what: str = "", so_far: object | None = None) -> None:
        """Take note of progress; another stage has another pace."""
        if what != self.what:
            self.marks.clear()
        if so_far is not None:
            self.so_far = so_far
        self.done, self.total, self.what = done, total, what
        self.marks.append((time.monotonic(), done))

    def begin(self) -> None:
        """Have a turn."""
        self.state, self._turn = RUNNING, time.monotonic()
        self.turns, self.overtaken = self.turns + 1, 0

    def run(self) -> None:
        """Run until it ends, or to the next `yield`.

        Whatever it raises becomes its state, as the worker must live on.
        """
        try:
            self._go_on()
        except Cancelled:
            self._let_go()
            self._stopped()
        except BaseException as error:  # SystemExit too
            if threading.main_thread().is_alive():  # else the process ends, and pools before jobs
                _log.exception("job %s failed", self.title)
            self._let_go()
            self.fail(error)
        self.used += time.monotonic() - self._turn

    def _go_on(self) -> None:
        if self._steps is None:
            made = self.work(Progress(self.report, self._must_stop))
            if not isinstance(made, Generator):
                self.end(DONE, made)
                return
            self._steps = made
        if self._must_stop():
            raise Cancelled
        try:
            next(self._steps)
        except StopIteration as stop:
            self.end(DONE, stop.value)

    def _must_stop(self) -> bool:
        return self.cancel.is_set() or self._late()

    def _late(self) -> bool:
        ran = self.used + time.monotonic() - self._turn
        return self.allowed is not None and ran > self.allowed

    def _stopped(self) -> None:
        if self.cancel.is_set() or not self._late():
            self.end(CANCELLED)
        else:
            self.fail(ValueError(f"it took more than {self.allowed:g} s, the most allowed here"))

    def _let_go(self) -> None:
        """Let work that is half done clean up after itself."""
        if self._steps is not None:
            try:
                self._steps.close()
            except Exception:
                _log.exception("job %s could not be stopped cleanly", self.title)

    def fail(self, error: BaseException) -> None:
        """Note what went wrong, without the frames that it went through: they hold their data."""
        linked: BaseException | None = error
        while linked is not None:
            linked.__traceback__, linked = None, linked.__cause__ or linked.__context__
        self.error = sentence(error)
        self.exception = error if isinstance(error, Exception) else RuntimeError(self.error)
        self.end(FAILED)

    def end(self, state: str, result: object = None) -> None:
        """Note that it is over, and let go of what the work needed."""
        self.work, self._steps, self.result = _nothing, None, result
        self.state = state
        self.ended.set()


def _nothing(progress: Progress) -> None:
    """Stand in for work that is over."""


def sentence(error: BaseException) -> str:
    """Return an error for a user: our own messages as they are, foreign ones with their kind."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and text:
        return text
    if isinstance(error, MemoryError) or "out of memory" in text:
        return "there is not enough memory: choose a smaller model or fewer images"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
