"""What fields are called where they are shown without their form: on the page that goes on with one that was kept."""

from collections.abc import Mapping
from typing import Final

from payymo.phrases import Phrase
from payymo.web.console.states import STATES

LABELS: Final[Mapping[str, Phrase]] = {
    "accent": Phrase("Colour"),
    "at_once": Phrase("At once"),
    "complexity_classes": Phrase("Kinds of characters"),
    "compromised": Phrase("Somebody else may have this key"),
    "days": Phrase("Days until it expires"),
    "email": Phrase("E-mail address"),
    "host": Phrase("Host name"),
    "how": Phrase("Password"),
    "keep_sessions": Phrase("Let sessions live on"),
    "language": Phrase("Language of mails"),
    "max_length": Phrase("Longest, in characters"),
    "min_length": Phrase("Shortest, in characters"),
    "min_score": Phrase("How hard to guess"),
    "name": Phrase("Name"),
    "new_email": Phrase("New e-mail address"),
    "others": Phrase("Other permissions"),
    "permissions": Phrase("Permissions"),
    "roles": Phrase("Roles"),
    "scopes": Phrase("What it is good for"),
    "slug": Phrase("Short name"),
    "status": Phrase("Status"),
    "username": Phrase("User name"),
    "why": Phrase("Why"),
    "words": Phrase("Words that don't count"),
}
_TICKED: Final = {"yes": Phrase("yes"), "true": Phrase("yes")}
_VALUES: Final[Mapping[str, Mapping[str, Phrase]]] = {
    "at_once": _TICKED,
    "compromised": _TICKED,
    "keep_sessions": _TICKED,
    "how": {
        "mail": Phrase("Send a link, with which they choose one within seven days"),
        "password": Phrase("I choose one, and tell them"),
    },
    "status": STATES,
}


def label(name: str) -> str:
    """What a field is called, to be said in the present language; one that no form of ours has, by its name."""
    return LABELS.get(name, name)


def typed_value(value: str, name: str) -> str:
    """What was typed or chosen in it, as its form says that."""
    return _VALUES.get(name, {}).get(value, value)
