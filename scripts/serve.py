"""Serve the dashboard to a class or the public; `make serve` and the container run this.

HOST and PORT say where it listens, BITLENS_HOSTS which names it is reached by.
"""

import os
import sys

SPACE = "SPACE_HOST"  # a Hugging Face Space's own name, as it tells it
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEFT_SECONDS = 30  # after which a session whose browser left is gone
UPLOAD_MB = 5


def command(environment: dict[str, str]) -> list[str]:
    """Return what runs the server; ValueError where nobody could reach it."""
    host, port = environment.get("HOST", "127.0.0.1"), environment.get("PORT", "8501")
    told = environment.get("BITLENS_HOSTS") or environment.get(SPACE, "")
    names = told.replace(",", " ").split()
    if host not in LOOPBACK and not names:
        raise ValueError(
            f"HOST={host} is open to others: say by which names they reach it, "
            "e.g. BITLENS_HOSTS=bitlens.school.org"
        )
    options = {
        "server.address": [host],
        "server.port": [port],
        "server.headless": ["true"],
        "server.allowedHosts": [*LOOPBACK, *names],
        "server.maxUploadSize": [str(UPLOAD_MB)],
        "server.maxMessageSize": [str(4 * UPLOAD_MB)],
        "server.disconnectedSessionTTL": [str(LEFT_SECONDS)],
        "browser.serverAddress": [names[0].removeprefix("*.") if names else "localhost"],
        "client.showErrorDetails": ["none"],
    }
    pairs = [(f"--{name}", each) for name, values in options.items() for each in values]
    flags = [part for pair in pairs for part in pair]
    return [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", *flags]


if __name__ == "__main__":
    try:
        arguments = command(dict(os.environ))
    except ValueError as error:
        sys.exit(f"bitlens: {error}")
    os.environ["BITLENS_PUBLIC"] = "1"
    if SPACE in os.environ:  # which is shown in a frame
        os.environ.setdefault("BITLENS_FRAMES", "https://huggingface.co")
    os.execv(arguments[0], arguments)  # nosec B606 # this Python; without a shell on purpose
