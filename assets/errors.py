"""What every reader raises for input that is wrong, and how it shows what it was given."""


class InputError(ValueError):
    """Input that cannot be used; the message says what was wrong and what would be right."""


def shown(text: object, most: int = 200) -> str:
    """Return text from outside as a message may hold it: on one line, and not endless."""
    start = str(text)[: most + 1]
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
