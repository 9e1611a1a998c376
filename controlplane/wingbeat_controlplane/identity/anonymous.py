"""Who calls, in an installation without identity: nobody in particular."""


def anonymous_principal(_context: object) -> str:
    """The subject written to what a caller makes: empty."""
    return ""
