"""Signs the heads of the logs, and says by which keys. A checkpoint that has left the machine is what a log is held to.

Form: C2SP tlog-checkpoint, in a C2SP signed-note. The name of the key is the origin of the log, as readers expect.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from payymo.audit import store
from payymo.audit.damage import LogsDamaged
from payymo.audit.merkle import TileDamaged, root_at
from payymo.audit.model import PLATFORM
from payymo.audit.notes import Checkpoint, VerifierKey, is_name, sign
from payymo.audit.store import StoredCheckpoint
from payymo.audit.vouching import Revoked, Vouchers
from payymo.clock import Clock
from payymo.db.schema import PLATFORM_LOG
from payymo.db.work import Work

Head = tuple[uuid.UUID, int, bytes]
"""Whose log, its size and its root."""
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
        self._replaced: frozenset[bytes] = frozenset()

    def origin(self, tenant_id: uuid.UUID | None) -> str:
        """What a log is called by those who read its checkpoints."""
        return f"{self._deployment}/audit/{PLATFORM if tenant_id is None else tenant_id}"

    def names(self, tenant_id: uuid.UUID | None) -> tuple[str, ...]:
        """What a log is called, and was when its newest checkpoint was signed: the issuer may be another one now."""
        own, newest = self.origin(tenant_id), self.newest(tenant_id)
        then = own if newest is None else newest.note.partition("\n")[0]
        return tuple(dict.fromkeys((then, own))) if is_name(then) else (own,)  # whoever wrote that is found by `verify`

    def verifier_keys(self, tenant_id: uuid.UUID | None, *, origin: str | None = None) -> tuple[VerifierKey, ...]:
        """Every key that may have signed this log. `origin`: under an older name of it."""
        name = self.origin(tenant_id) if origin is None else origin
        return tuple(VerifierKey(name, key.public) for key in self._keys() if not key.is_compromised)

    def vouchers(self, outside: Sequence[VerifierKey] | None = None) -> Vouchers:
        """Who opens checkpoints of these logs. `outside`: the only keys to trust, instead of the database's."""
        keys = tuple(self._keys())
        trusted = [key.public for key in keys if not key.is_compromised]
        revoked = [key.public for key in keys if key.is_compromised]
        return Vouchers(trusted, revoked, outside)

    def newest(self, tenant_id: uuid.UUID | None) -> StoredCheckpoint | None:
        """The newest signed head, or None: nothing is on record yet."""
        with self._work.platform(writes=False) as tx:
            return store.find_newest_checkpoint(tx, log_id(tenant_id))

    def sign_due(self, *, at_once: bool = False) -> int:
        """Sign every head that has grown since its newest checkpoint. Answers how many.

        Raises Unavailable; LogsDamaged, when all others are signed.
        """
        with self._work.platform(writes=False) as tx:
            unsigned = store.list_unsigned(tx, before=int(self._clock()) - (0 if at_once else EVERY_SECONDS))
        if not unsigned:
            return 0
        signing = self._signing()  # outside of transactions: the key may have to be read first
        vouchers = self.vouchers()
        forged = self._list_forged(vouchers)
        found = {log: self._head_that_goes_on(log, vouchers) for log, _, _ in [*unsigned, *forged]}
        damaged = {log for log, head in found.items() if head is None}
        notes = [(*head, self._note(*head, signing)) for head in found.values() if head is not None]
        now = int(self._clock())
        with self._work.platform() as tx:
            for log, size, _, note in notes:
                store.put_checkpoint(
                    tx, log, size, note, is_instead=(log, size) in {head[:2] for head in forged}, now=now
                )
            for log in damaged:
                store.mark_damaged(tx, log, now=now)
        if damaged:
            raise LogsDamaged(damaged)
        self._replaced = vouchers.revoked
        return len(notes)

    def _list_forged(self, vouchers: Vouchers) -> list[Head]:
        """Heads whose newest checkpoint proves nothing any more, because a key was revoked since we last looked."""
        if vouchers.revoked <= self._replaced:
            return []
        found = []
        with self._work.platform(writes=False) as tx:
            for log, size, root in store.list_heads(tx):
                newest = store.find_newest_checkpoint(tx, log)
                if newest is not None and newest.size == size and vouchers.is_revoked(newest.note.encode()):
                    found.append((log, size, root))
        return found

    def _head_that_goes_on(self, log: uuid.UUID, vouchers: Vouchers) -> Head | None:
        """The head, if the tree has its root, and begins with what was signed last.

        A log never signs what contradicts its own checkpoint. The head is read after that, and not taken from before:
        another process may have grown and signed the log meanwhile, and a log that is shorter than what was signed of
        it was changed.
        """
        with self._work.platform(writes=False) as tx:
            newest, read = store.find_newest_checkpoint(tx, log), partial(store.read_tile, tx, log)
            head = _, size, root = store.find_head(tx, log)
            try:
                if root_at(size, read) != root:
                    return None
                if newest is None:
                    return head
                known = vouchers.open(newest.note.encode(), None if log == PLATFORM_LOG else log)
                return head if known.size <= size and root_at(known.size, read) == known.root else None
            except Revoked:
                return head
            except (TileDamaged, ValueError):  # refused; or its size is below zero
                return None

    def _note(self, log: uuid.UUID, size: int, root: bytes, signing: Signing) -> str:
        origin = self.origin(None if log == PLATFORM_LOG else log)
        return str(sign(str(Checkpoint(origin, size, root)), VerifierKey(origin, signing.public), signing.sign))
