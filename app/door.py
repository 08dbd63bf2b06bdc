"""Who may ask the server, and what a browser may do with its answers.

Streamlit looks at the Host header of websockets alone, and looks its own outside address up before
it refuses a foreign origin. This stands before it: a request for another host, or one that a page
of another site makes, is refused at once; every answer tells the browser to load nothing from
elsewhere. What hosts there are is Streamlit's own setting `server.allowedHosts`.
"""

import os
import re
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import public

FRAMES = "BITLENS_FRAMES"  # sites that may show the dashboard in a frame, such as a Space's
PAGE = Path(st.__file__).parent / "static" / "index.html"
UPLOAD, SESSIONS = "/_stcore/upload_file/", 1000  # sessions whose files are counted
READING = {"GET", "HEAD"}
CLOSED = ("/_stcore/metrics", "/_stcore/agent", "/_stcore/script-health-check")
REFUSED = 1008  # a websocket's "policy violation"
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'wasm-unsafe-eval' blob:",  # components' scripts come as blobs
    "style-src": "'self' 'unsafe-inline'",  # Streamlit and its charts write styles as they go
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}


class Door:
    """Middleware that lets in what is asked of this server by its own pages, and labels answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.uploads: OrderedDict[str, set[str]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        status, reason = refusal(scope, Headers(scope=scope))
        if not reason and public.on() and self._too_many(scope):
            status, reason = 429, "These are too many files: load the page again."

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(labels())
            await send(message)

        if not reason:
            await self.app(scope, receive, labelled)
        elif scope["type"] == "websocket":
            await receive()  # the browser's wish to connect
            await send({"type": "websocket.close", "code": REFUSED, "reason": reason})
        else:
            await PlainTextResponse(f"{reason}\n", status)(scope, receive, labelled)

    def _too_many(self, scope: Scope) -> bool:
        """Return whether a session gives more files than the server holds for it."""
        if scope["type"] != "http" or scope["method"] != "PUT" or UPLOAD not in scope["path"]:
            return False
        session, _, file = scope["path"].rpartition(UPLOAD)[2].partition("/")
        files = self.uploads.setdefault(session, set())
        files.add(file)
        while len(self.uploads) > SESSIONS:
            self.uploads.popitem(last=False)
        return len(files) > public.UPLOADS


MIDDLEWARE = (Middleware(Door),)


def refusal(scope: Scope, headers: Headers) -> tuple[int, str]:
    """Return the status and the reason of a refusal; (200, "") lets the request in."""
    host, origin = headers.getlist("host"), headers.get("origin")
    if len(host) != 1 or not named(host[0], st.get_option("server.allowedHosts")):
        return 421, "This host is not one that the dashboard is served as."
    reads = scope["type"] == "http" and scope["method"] in READING
    trusted = st.get_option("server.corsAllowedOrigins")
    foreign = origin is not None and urlsplit(origin).netloc != host[0] and origin not in trusted
    if foreign and not reads:
        return 403, "A page of another site may not use the dashboard."
    if scope["path"].startswith(CLOSED):
        return 404, "There is nothing here."
    return 200, ""


def named(host: str, hosts: Iterable[str]) -> bool:
    """Return whether a Host header is one of `hosts`; "*.school.org" stands for all below it."""
    if not set(host).isdisjoint("@/\\?#"):
        return False
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    patterns = {pattern.strip().lower().rstrip(".") for pattern in hosts}
    below = (pattern[1:] for pattern in patterns if pattern.startswith("*."))
    return bool(name) and (name in patterns or any(map(name.endswith, below)))


def inline(page: bytes) -> str:
    """Return what lets the scripts run that stand in a page itself: Streamlit's has one."""
    digests = (
        sha256(script).digest() for script in re.findall(rb"<script>(.*?)</script>", page, re.S)
    )
    return "".join(f" 'sha256-{b64encode(digest).decode()}'" for digest in digests)


@cache
def labels() -> dict[str, str]:
    """Return the headers of every answer."""
    frames = os.environ.get(FRAMES, "").split()
    policy = {**POLICY, "frame-ancestors": " ".join(frames) or "'none'"}
    policy["script-src"] += inline(PAGE.read_bytes())
    return {
        "Content-Security-Policy": "; ".join(f"{name} {what}" for name, what in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        **({} if frames else {"X-Frame-Options": "DENY"}),
    }
