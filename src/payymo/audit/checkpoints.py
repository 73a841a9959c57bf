"""Signs the heads of the logs, and says by which keys. A checkpoint that has left the machine is what a log is held to.

Form: C2SP tlog-checkpoint, in a C2SP signed-note. The name of the key is the origin of the log, as readers expect.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from payymo.audit import store
from payymo.audit.model import PLATFORM
from payymo.audit.notes import Checkpoint, VerifierKey, sign
from payymo.audit.store import StoredCheckpoint
from payymo.clock import Clock
from payymo.db.schema import PLATFORM_LOG
from payymo.db.work import Work

EVERY_SECONDS: Final = 1
"""A log that grows is signed as often."""


@dataclass(frozen=True, slots=True)
class AuditKey:
    """A key that signs heads, or did: its public half, and whether somebody else may have it."""

    public: bytes
    is_compromised: bool


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs now: the public half of the key, and what makes its signature."""

    public: bytes
    sign: Callable[[bytes], bytes]


def log_id(tenant_id: uuid.UUID | None) -> uuid.UUID:
    """Under which id a log is stored: the tenant's, or the platform's own."""
    return PLATFORM_LOG if tenant_id is None else tenant_id


class Checkpoints:
    """The signed heads."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        *,
        deployment: str,
        signing: Callable[[], Signing],
        keys: Callable[[], Sequence[AuditKey]],
    ) -> None:
        """`deployment`: a name without spaces and plus signs, which no other deployment has: a host and a path."""
        self._work = work
        self._clock = clock
        self._deployment = deployment
        self._signing = signing
        self._keys = keys

    def origin(self, tenant_id: uuid.UUID | None) -> str:
        """What a log is called by those who read its checkpoints."""
        return f"{self._deployment}/audit/{PLATFORM if tenant_id is None else tenant_id}"

    def verifier_keys(self, tenant_id: uuid.UUID | None, *, origin: str | None = None) -> tuple[VerifierKey, ...]:
        """Every key that may have signed this log. `origin`: under an older name of it."""
        name = self.origin(tenant_id) if origin is None else origin
        return tuple(VerifierKey(name, key.public) for key in self._keys() if not key.is_compromised)

    def newest(self, tenant_id: uuid.UUID | None) -> StoredCheckpoint | None:
        """The newest signed head, or None: nothing is on record yet."""
        with self._work.platform(writes=False) as tx:
            return store.find_newest_checkpoint(tx, log_id(tenant_id))

    def sign_due(self) -> int:
        """Sign every head that has grown since its newest checkpoint. Answers how many. Raises Unavailable."""
        with self._work.platform(writes=False) as tx:
            unsigned = store.list_unsigned(tx, before=int(self._clock()) - EVERY_SECONDS)
        if not unsigned:
            return 0
        signing = self._signing()  # outside of transactions: the key may have to be read first
        notes = [(log, size, self._note(log, size, root, signing)) for log, size, root in unsigned]
        now = int(self._clock())
        with self._work.platform() as tx:
            for log, size, note in notes:
                store.add_checkpoint(tx, log, size, note, now=now)
        return len(notes)

    def _note(self, log: uuid.UUID, size: int, root: bytes, signing: Signing) -> str:
        origin = self.origin(None if log == PLATFORM_LOG else log)
        return str(sign(str(Checkpoint(origin, size, root)), VerifierKey(origin, signing.public), signing.sign))
