"""What every reader raises for input that is wrong, and errors in words."""

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as torch says it


class InputError(ValueError):
    """Input that cannot be used; the message says what was wrong and what would be right."""


def shown(text: object, most: int = 200) -> str:
    """Return text from outside as a message may hold it: on one line, and not endless."""
    start = str(text)[: most + 1]
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def in_words(error: BaseException) -> str | None:
    """Return one sentence for what a user can put right; None for an error that is ours to mend."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
    ):
        return "there is not enough memory: close other programs, or ask for less at a time"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} cannot be used: {error.strerror or text}"
    if isinstance(error, OverflowError):
        return f"a number is too large: give a smaller one ({text})"
    return text if isinstance(error, ValueError) else None
