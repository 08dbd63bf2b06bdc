"""The error for input that the user can put right."""


class InputError(ValueError):
    """Input is wrong; the message is one sentence: what was wrong, what would be right."""
