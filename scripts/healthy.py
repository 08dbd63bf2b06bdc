"""Exit with 0 if the dashboard on this machine's PORT answers; the container's health check."""

import os
import sys
import urllib.request

ADDRESS = "http://127.0.0.1:{}/_stcore/health"


def healthy(port: str) -> bool:
    """Return whether the server answers that it is well."""
    try:
        # B310: the scheme is http, as ADDRESS says.
        with urllib.request.urlopen(ADDRESS.format(port), timeout=4) as answer:  # nosec B310
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not healthy(os.environ.get("PORT", "8501")))
