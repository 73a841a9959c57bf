"""Text that a terminal shows, and does not obey."""


def harmless(text: str) -> str:
    """The text without what a terminal would obey: names in certificates are chosen by strangers."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
