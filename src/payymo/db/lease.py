"""Who does what one process at a time does: a row that its holder renews, and that another takes when it has run out.

A lease saves work; it does not guard anything. Duties are safe when two processes do them at once, because a holder
that was paused may wake up after its time.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.clock import Clock
from payymo.db.moments import SKEW_SECONDS
from payymo.db.schema import leases
from payymo.db.work import Work
from payymo.errors import Unavailable

_CLAIM: dict[str, Any] = {"holder": sa.bindparam("who"), "expires_at": sa.bindparam("until")}
_FREE = sa.or_(
    leases.c.expires_at <= sa.bindparam("moment"),
    leases.c.expires_at > sa.bindparam("farthest"),
    leases.c.holder == sa.bindparam("who"),
)
_TAKE = {
    name: insert(leases)
    .values(name=sa.bindparam("lease"), **_CLAIM)
    .on_conflict_do_update(index_elements=[leases.c.name], set_=_CLAIM, where=_FREE)
    .returning(leases.c.name)
    for name, insert in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}
_OWN = sa.update(leases).where(leases.c.name == sa.bindparam("lease"), leases.c.holder == sa.bindparam("who"))
_GIVE_BACK = _OWN.values(expires_at=0)
_NOTE_DONE = _OWN.values(done_at=sa.bindparam("moment"))
_FIND = sa.select(leases.c.holder, leases.c.expires_at, leases.c.done_at).where(leases.c.name == sa.bindparam("lease"))
DUTIES: Final = "maintenance"
"""The lease of who does the due duties of all."""


@dataclass(frozen=True, slots=True)
class Held:
    """Who has or had a lease, until when, and when what it is for was last done to its end; None: never yet."""

    holder: str
    expires_at: int
    done_at: int | None


def find_lease(work: Work, name: str) -> Held | None:
    """A lease, or None: nobody has ever had it. Raises Unavailable."""
    with work.platform(writes=False) as tx:
        row = tx.execute(_FIND, {"lease": name}).one_or_none()
    return None if row is None else Held(*row)


class Lease:
    """One named lease, as one process sees it."""

    def __init__(self, work: Work, clock: Clock, name: str, holder: str, *, seconds: int) -> None:
        self._work = work
        self._clock = clock
        self._name = name
        self._holder = holder
        self._seconds = seconds

    def take(self) -> bool:
        """Take or renew it. False while another process holds it."""
        now = int(self._clock())
        until = now + self._seconds
        values = {
            "lease": self._name,
            "who": self._holder,
            "until": until,
            "moment": now,
            "farthest": until + SKEW_SECONDS,
        }
        with self._work.platform() as tx:
            return tx.execute(_TAKE[tx.dialect], values).scalar() is not None

    def give_back(self) -> None:
        """Let another process take it at once, if the database takes that: else when it has run out."""
        with suppress(Unavailable), self._work.platform() as tx:
            tx.execute(_GIVE_BACK, {"lease": self._name, "who": self._holder})

    def note_done(self) -> None:
        """Take down that what it is for was done to its end just now, if this process still has it."""
        with self._work.platform() as tx:
            tx.execute(_NOTE_DONE, {"lease": self._name, "who": self._holder, "moment": int(self._clock())})
