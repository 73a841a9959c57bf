"""What is asked of a process that serves. Another check is one line in `checks_of`, and its name in the model."""

from collections.abc import Callable
from typing import Final

from payymo.audit.sequencer import Sequencer
from payymo.clock import Clock
from payymo.db.lease import DUTIES, find_lease
from payymo.db.revision import current_revision
from payymo.db.schema import REVISION
from payymo.db.standby import is_standby
from payymo.db.work import Engine, Transaction, Work, database_time
from payymo.errors import Misconfigured
from payymo.feed.service import Feed
from payymo.health.model import Check, Finding, Name, audit_finding, clock_finding, duties_finding, outbox_finding
from payymo.keys.service import KeyRing
from payymo.mail.outbox import Outbox

SCHEMA: Final[tuple[Name, ...]] = ("database", "migrations")
"""What has to do well before the tables are asked: else each would wait in vain for the same database."""


def schema_checks(engine: Engine) -> tuple[Check, Check]:
    """Whether the database answers and has the schema of this version: asked once for both."""
    seen: list[str | None] = [None]

    def ask_database() -> Finding:
        seen[0] = current_revision(engine)
        if is_standby(engine):
            remedy = "let PAYYMO_DATABASE__URL lead to the server that writes"
            return Finding("failing", "it takes no writes", remedy)
        return Finding("ok", "it answers")

    def ask_migrations() -> Finding:
        found = seen[0]
        if found == REVISION:
            return Finding("ok", f"revision {found}")
        said = "has no tables yet" if found is None else f"is at revision {found}"
        return Finding("failing", f"the database {said}, this version needs {REVISION}", "payymo db upgrade")

    return (
        Check("database", ask_database, remedy="start the database, or mend PAYYMO_DATABASE__URL"),
        Check("migrations", ask_migrations, needs=("database",)),
    )


def ask_clock(work: Work, clock: Clock) -> Finding:
    """How far this machine's clock is from the database's, which all nodes have in common. Raises Unavailable."""
    before = clock()
    theirs = database_time(work)
    if theirs is None:
        return Finding("ok", "SQLite has this machine's")
    return clock_finding((before + clock()) / 2 - theirs)


def checks_of(
    engine: Engine,
    work: Work,
    clock: Clock,
    *,
    ring: KeyRing,
    require_masters: Callable[[Transaction], None],
    feed: Feed,
    outbox: Outbox,
    sequencer: Sequencer,
    duties_every: float,
) -> tuple[Check, ...]:
    """Every check, those first that others need. `require_masters` raises Misconfigured. `duties_every`: seconds."""
    since = clock()

    def ask_keys() -> Finding:
        signing = f"{ring.require_signers()} keys sign"
        try:
            with work.platform(writes=False) as tx:
                require_masters(tx)
        except Misconfigured as error:  # what is open stays open: it serves, and does not start again
            return Finding("degraded", "; ".join(error.reasons), "start this process again, with both master keys")
        return Finding("ok", signing)

    def ask_feed() -> Finding:
        return Finding("ok", f"position {feed.head().seq}")

    def ask_outbox() -> Finding:
        if not outbox.is_on:
            return Finding("ok", "no mail is sent")
        return outbox_finding(outbox.stuck_since(), clock())

    def ask_audit() -> Finding:
        found = sequencer.standing()
        return audit_finding(found.oldest_at, found.damaged, clock())

    def ask_duties() -> Finding:
        lease = find_lease(work, DUTIES)
        return duties_finding(
            None if lease is None else lease.done_at, clock(), since=since, every_seconds=duties_every
        )

    return (
        *schema_checks(engine),
        Check("keys", ask_keys, remedy="payymo key list; the log says which key could not be used"),
        Check("clock", lambda: ask_clock(work, clock), needs=SCHEMA),
        Check("feed", ask_feed, needs=SCHEMA),
        Check("outbox", ask_outbox, worst="degraded", needs=SCHEMA),
        Check("audit", ask_audit, worst="degraded", needs=SCHEMA),
        Check("duties", ask_duties, worst="degraded", needs=SCHEMA),
    )
