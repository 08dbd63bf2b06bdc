"""Say in one sentence why the dashboard cannot listen on a port, before Streamlit tries."""

import os
import socket
import sys


def complaint(port: str) -> str | None:
    """Return what is wrong with `port`, or None where the dashboard can have it."""
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        return (
            f"PORT={port} is not a port; choose a number from 1 to 65535, e.g. make run PORT=8502."
        )
    host = os.environ.get("STREAMLIT_SERVER_ADDRESS", "127.0.0.1")
    with socket.socket() as server:
        # As servers do: a connection of the last run that is still closing does not take the port.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, int(port)))
            server.listen()
        except OSError as error:
            other = 8502 if port != "8502" else 8503
            reason = error.strerror or error
            return f"port {port} cannot be used ({reason}); choose another: make run PORT={other}."
    return None


if __name__ == "__main__":
    problem = complaint(sys.argv[1])
    sys.exit(problem and f"bitlens: {problem}")
