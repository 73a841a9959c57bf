"""The life of signing keys, for a picture and a table. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from payymo.keys.model import SigningKey
from payymo.phrases import Phrase
from payymo.web.console.charts import Span, Timeline, timeline
from payymo.web.console.states import state

ENDED_SHOWN: Final = 6
"""So many keys that do nothing any more are shown of a purpose: the newest."""
STATES: Final = {
    "next": Phrase("published, signs next"),
    "active": Phrase("signs"),
    "retiring": Phrase("only verifies"),
    "retired": Phrase("over"),
    "revoked": Phrase("revoked"),
}
_OVER: Final = ("retired", "revoked")


@dataclass(frozen=True, slots=True)
class Life:
    """A key, and when it stopped signing; None: it signs, or never has."""

    key: SigningKey
    stopped_at: int | None

    @property
    def state(self) -> str:
        """In words."""
        return STATES[self.key.state]

    @property
    def is_over(self) -> bool:
        """Whether nothing it has signed counts any more."""
        return self.key.state in _OVER


def lives_of(keys: Sequence[SigningKey]) -> tuple[Life, ...]:
    """The keys of one purpose, the oldest first: all that do something, and the last that did.

    When a key has stopped signing is nowhere written: it is when the next one began, or when it was revoked.
    """
    began = sorted(key.activated_at for key in keys if key.activated_at is not None)
    over = [key.kid for key in keys if key.state in _OVER]
    left_out = set(over[:-ENDED_SHOWN])
    return tuple(Life(key, _stopped(key, began)) for key in keys if key.kid not in left_out)


def picture_of(lives: Sequence[Life], now: int) -> Timeline | None:
    """Their time as next, as signing, and as only verifying key."""
    return timeline(((_label(life.key), list(_spans(life, now))) for life in lives), now=now)


def _stopped(key: SigningKey, began: Sequence[int]) -> int | None:
    if key.activated_at is None or key.state in {"next", "active"}:
        return None
    followed = next((at for at in began if at > key.activated_at), key.retires_at)
    return followed if key.retires_at is None or followed is None else min(followed, key.retires_at)


def _spans(life: Life, now: int) -> Iterator[Span]:
    key = life.key
    signs_from = key.activated_at if key.activated_at is not None else (key.retires_at or now)
    yield Span(key.created_at, signs_from, "waits", Phrase("next"))
    if key.activated_at is not None:
        stopped = now if life.stopped_at is None else life.stopped_at
        yield Span(key.activated_at, stopped, "works", Phrase("signs"))
        if key.retires_at is not None and key.retires_at > stopped:
            yield Span(stopped, key.retires_at, "ends", Phrase("only verifies"))


def _label(key: SigningKey) -> str:
    return Phrase.joined((key.kid[:8], state(key.state)))
