"""A browser's part of a Streamlit page without a browser: the messages over its web socket."""

import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 120.0
LOOK = 0.05


@dataclass
class Seen:
    """What a page shows: widgets and figures by label, and when each figure came."""

    widgets: dict[str, Any] = field(default_factory=dict)  # by user key, the element's message
    figures: dict[str, str] = field(default_factory=dict)
    moments: dict[str, float] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Visitor:
    """One session: opens a page, sets widgets, reruns fragments as often as the page asks to.

    Use as a context manager.

    Args:
        address: of the server, such as "http://127.0.0.1:8501".
        page: the page's name and what is asked of it, such as "budget?model=digits-vit".
    """

    def __init__(self, address: str, page: str) -> None:
        self._host = urllib.parse.urlsplit(address).netloc
        self._page, _, self._query = page.partition("?")
        self._open = ExitStack()
        self.seen, self._values = Seen(), dict[str, WidgetState]()
        self._hash = ""
        self._fragments: dict[str, str] = {}  # of widgets
        self._again: dict[str, tuple[float, float]] = {}  # interval and next time by fragment
        self._asked: set[str] = set()  # fragments that the run under way wants run again
        self._lock, self._over = threading.Lock(), False

    def __enter__(self) -> "Visitor":
        self._socket = self._open.enter_context(
            connect(
                f"ws://{self._host}/_stcore/stream",
                subprotocols=["streamlit"],  # type: ignore[list-item]
                origin=f"http://{self._host}",  # type: ignore[arg-type]
                max_size=None,
            )
        )
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._keep_asking, daemon=True).start()
        self._rerun()
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        self._open.close()

    def wait(self, condition: Callable[[Seen], object], patience: float = PATIENCE) -> None:
        """Wait until a page shows something.

        Raises:
            TimeoutError: it did not.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if condition(self.seen):
                return
            time.sleep(LOOK)
        raise TimeoutError(f"never seen: {self.seen.errors or self.seen.texts[-5:]}")

    def set(self, key: str, fragment: bool = True, **value: Any) -> None:
        """Give the widget of a key another value, as a `WidgetState` takes it."""
        element, where = self.seen.widgets[key]
        self._values[element.id] = WidgetState(id=element.id, **value)
        self._rerun(where if fragment else "")

    def _rerun(self, fragment: str = "", automatic: bool = False) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.fragment_id = self._query, fragment
        state.is_auto_rerun, state.page_script_hash = automatic, self._hash
        state.page_name = "" if self._hash else self._page
        state.widget_states.CopyFrom(WidgetStates(widgets=self._values.values()))
        with self._lock:
            self._socket.send(message.SerializeToString())

    def _listen(self) -> None:
        try:
            for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data if isinstance(data, bytes) else data.encode())
                self._take(message)
        except ConnectionClosed:
            pass

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._asked = set()
        elif kind == "navigation":
            self._hash = message.navigation.page_script_hash
        elif kind == "auto_rerun":
            again = message.auto_rerun
            self._asked.add(again.fragment_id)
            self._again[again.fragment_id] = again.interval, time.monotonic() + again.interval
        elif kind == "script_finished" and not message.script_finished:  # a whole run
            self._again = {key: one for key, one in self._again.items() if key in self._asked}
        elif kind == "stop_auto_rerun":
            for one in message.stop_auto_rerun.fragment_ids:
                self._again.pop(one, None)
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._show(message.delta)

    def _show(self, delta: Any) -> None:
        element, kind = delta.new_element, delta.new_element.WhichOneof("type")
        shown = getattr(element, kind)
        if kind == "metric":
            self.seen.figures[shown.label] = shown.body
            self.seen.moments.setdefault(shown.label, time.monotonic())
        elif kind in ("markdown", "alert", "exception"):
            said = shown.message if kind == "exception" else shown.body
            self.seen.texts.append(said)
            if kind == "exception":
                self.seen.errors.append(said)
        elif hasattr(shown, "id"):
            self.seen.widgets[shown.id.rsplit("-", 1)[-1]] = shown, delta.fragment_id

    def _keep_asking(self) -> None:
        while not self._over:
            now = time.monotonic()
            for fragment, (interval, due) in list(self._again.items()):
                if now >= due:
                    self._again[fragment] = interval, now + interval
                    try:
                        self._rerun(fragment, automatic=True)
                    except ConnectionClosed:
                        return
            time.sleep(LOOK / 2)
