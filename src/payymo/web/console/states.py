"""How things stand, in words: what is one word in the database is another one in each language."""

from collections.abc import Mapping
from typing import Final

from payymo.phrases import Phrase

STATES: Final[Mapping[str, Phrase]] = {
    "ok": Phrase("ok"),
    "degraded": Phrase("degraded"),
    "failing": Phrase("failing"),
    "active": Phrase("active"),
    "disabled": Phrase("disabled"),
    "suspended": Phrase("suspended"),
    "deleted": Phrase("deleted"),
    "current": Phrase("current"),
    "behind": Phrase("behind"),
    "silent": Phrase("silent"),
    "expired": Phrase("expired"),
    "revoked": Phrase("revoked"),
    "requested": Phrase("requested"),
    "next": Phrase("next"),
    "retiring": Phrase("retiring"),
    "retired": Phrase("retired"),
    "leaving": Phrase("leaving"),
    "success": Phrase("succeeded"),
    "refused": Phrase("refused"),
    "error": Phrase("failed"),
}


def state(word: str) -> str:
    """The same word, to be said in the present language."""
    return STATES.get(word, word)
