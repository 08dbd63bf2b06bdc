"""Who is let in by a real server, and what its answers tell a browser."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app import door
from tests.app.test_browser import serving

LOOKS = """
import streamlit.net_util as net, os, sys
def looks(): open(os.environ["LOOKED"], "w").close()
net.get_external_ip = net.get_internal_ip = looks
from streamlit.web.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def served(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Path]]:
    """The port of a server, and a file that is there once it looked its own address up."""
    folder = tmp_path_factory.mktemp("server")
    looked = folder / "looked"
    command = ("-c", LOOKS, "run", "streamlit_app.py")
    with serving(repository, folder, *command, LOOKED=str(looked)) as port:
        yield port, looked


def asked(port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, Message]:
    """Return the status and the headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/host-config", "/budget"])
def test_http_is_for_this_host_alone(served: tuple[int, Path], path: str) -> None:
    port, _ = served
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", f"[::1]:{port}"):
        assert asked(port, path, Host=host)[0] == 200, host
    for host in (
        "evil.test",
        f"evil.test:{port}",
        "localhost.evil.test",
        "evil@localhost",
        "[",
        "",
    ):
        assert asked(port, path, Host=host)[0] in (400, 421), host


@pytest.mark.parametrize(
    ("host", "origin", "opens"),
    [
        ("127.0.0.1", "http://127.0.0.1", True),
        ("localhost", "http://localhost", True),
        ("127.0.0.1", None, True),
        ("evil.test", "http://evil.test", False),
        ("evil.test", None, False),
        ("127.0.0.1", "http://evil.test", False),
        ("127.0.0.1", "null", False),
        ("127.0.0.1", "http://localhost:1", False),  # another server of this machine
    ],
)
def test_websockets_are_for_this_host_and_its_own_pages(
    served: tuple[int, Path], host: str, origin: str | None, opens: bool
) -> None:
    port, looked = served
    own = origin is not None and origin.endswith(f"//{host}")
    headers = {} if origin is None else {"Origin": f"{origin}:{port}" if own else origin}
    address = f"ws://{host}:{port}/_stcore/stream"  # what the Host header says
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as sock:
        if opens:
            with connect(address, sock=sock, additional_headers=headers):
                pass
        else:
            with pytest.raises(InvalidStatus) as refused:
                connect(address, sock=sock, additional_headers=headers)
            assert refused.value.response.status_code == 403
    assert not looked.exists(), "the server looked its own address up"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "OPTIONS"])
def test_pages_of_other_sites_write_nothing(served: tuple[int, Path], method: str) -> None:
    port, looked = served
    path = "/_stcore/upload_file/a/b"
    assert asked(port, path, method, Origin="http://evil.test")[0] == 403
    assert not looked.exists()


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/agent/openapi.json"])
def test_what_tells_of_others_is_closed(served: tuple[int, Path], path: str) -> None:
    assert asked(served[0], path)[0] == 404


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/metrics", "/nothing/here"])
def test_every_answer_is_labelled(served: tuple[int, Path], path: str) -> None:
    _, told = asked(served[0], path)
    policy = dict(part.split(" ", 1) for part in told["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["script-src"].replace("'wasm-unsafe-eval'", "")
    assert not [source for source in " ".join(policy.values()).split() if "//" in source]
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["X-Frame-Options"] == "DENY"
    assert told["Referrer-Policy"] == "same-origin"


def test_hosts_below_one_are_named_by_a_star() -> None:
    assert door.named("a.school.org:80", ["*.school.org"])
    assert door.named("A.School.org.", ["*.school.org"])
    assert not door.named("school.org", ["*.school.org"])
    assert not door.named("aschool.org", ["*.school.org"])
    assert not door.named("a.school.org", ["school.org", "*"])


def test_frames_are_for_the_sites_that_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(door.FRAMES, "https://huggingface.co")
    told = door.labels.__wrapped__()
    assert "frame-ancestors https://huggingface.co" in told["Content-Security-Policy"]
    assert "X-Frame-Options" not in told
