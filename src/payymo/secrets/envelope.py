"""Envelope encryption: fields are sealed under data keys, one per tenant and purpose; data keys under a master key.

What a field is bound to begins with whose it is, so that no value opens in another tenant, table, row or column. The
database's foreign keys keep a data key as long as a row is sealed under it, and a master key as long as a data key is
wrapped under it: no race, and no run that was killed, can leave a value that nothing opens.
"""

import threading
import uuid
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Misconfigured, NotFound, Unavailable
from payymo.sealed import Sealed, SealedRow
from payymo.secrets import key_rows, master_rows
from payymo.secrets.encryption import SealBroken, Sealer, TooOld
from payymo.secrets.model import DataKey, MasterKey, Wrapper

FRESH_SECONDS = 1.0
"""How long a process relies on which data key is the newest. Sealing under the one before it does no harm."""
REMEMBER_AT_MOST = 10_000
SERVICE = "service"
SAMPLES = 3
"""Data keys that are tried at the start, as a proof of the master key: the oldest, which stop opening first."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of sealed values, as its own store knows it: what has to be known to seal all of it again.

    All are steps in the transaction of whose values they are. `list_sealed(tx, newest, count=)` and `count_sealed(tx,
    newest)`: rows under another data key than the newest. `reseal(tx, row, sealed)` changes a row that is still what it
    was, and leaves others alone.
    """

    purpose: str
    list_sealed: Callable[..., Sequence[SealedRow]]
    count_sealed: Callable[[Transaction, uuid.UUID], int]
    reseal: Callable[[Transaction, SealedRow, Sealed], None]


class Envelope:
    """Seals and opens fields. `master_keys`: the one in use, and the one that takes or took its place, if any."""

    def __init__(self, clock: Clock, entropy: Entropy, master_keys: Sequence[MasterKey]) -> None:
        self._clock = clock
        self._entropy = entropy
        self._masters = {key.id: key.wrapper for key in master_keys}
        self._opened: dict[tuple[uuid.UUID | None, uuid.UUID], Sealer] = {}
        self._newest: dict[tuple[uuid.UUID | None, str], tuple[float, uuid.UUID]] = {}
        self._made: WeakKeyDictionary[Transaction, dict[str, tuple[uuid.UUID, Sealer]]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def require_tenant(self, tx: Transaction) -> None:
        """Step: raise NotFound when the transaction's tenant is deleted: what was sealed for it would be lost."""
        if self.is_shredded(tx):
            raise NotFound("There is no such tenant.")

    def is_shredded(self, tx: Transaction) -> bool:
        """Step: whether the transaction's tenant is deleted: nothing of it opens any more, and nothing has to."""
        return tx.tenant_id is not None and key_rows.find_tenant_status(tx) in {None, "deleted"}

    def require_masters(self, tx: Transaction) -> None:
        """Step: raise Misconfigured unless this process was given every master key that the database needs."""
        _require_held(master_rows.list_all(tx), self._masters)

    def seal(self, tx: Transaction, purpose: str, value: bytes, *place: str) -> Sealed:
        """Step: the value, sealed for `place` (table, row, column) of the transaction's tenant, or of the service.

        Raises NotFound for a deleted tenant, SealBroken, Unavailable.
        """
        key_id, sealer = self._sealer_now(tx, purpose)
        return Sealed(sealer.seal(value, _whose(tx.tenant_id), *place), key_id)

    def seal_under(self, tx: Transaction, key: DataKey, value: bytes, *place: str) -> Sealed:
        """Step: the same under this data key, whichever this process relies on for the moment."""
        return Sealed(self._remember(tx, key).seal(value, _whose(tx.tenant_id), *place), key.id)

    def open(self, tx: Transaction, sealed: Sealed, *place: str) -> bytes:
        """Step: the value that was sealed for `place`. Raises SealBroken."""
        sealer = self._opened.get((tx.tenant_id, sealed.data_key_id))
        if sealer is None:
            key = key_rows.find_key(tx, sealed.data_key_id)
            if key is None:
                raise SealBroken(private=f"{'/'.join(place)}: its data key is gone")
            sealer = self._remember(tx, key)
        return sealer.open(sealed.data, _whose(tx.tenant_id), *place)

    def renew(self, tx: Transaction, purpose: str) -> None:
        """Step: a new data key, which everything is sealed under from now on; within a second, in every process."""
        newest = key_rows.find_newest_key(tx, purpose)
        self._add(tx, purpose, 1 if newest is None else newest.generation + 1)
        self._newest.pop((tx.tenant_id, purpose), None)

    def rewrap(self, key: DataKey, tenant_id: uuid.UUID | None, master_id: str) -> bytes:
        """A data key under another master key. Raises SealBroken."""
        return self._master(master_id).seal(self._unwrap(key, tenant_id), *_wrap_place(key, tenant_id))

    def _sealer_now(self, tx: Transaction, purpose: str) -> tuple[uuid.UUID, Sealer]:
        known, now = self._newest.get((tx.tenant_id, purpose)), self._clock()  # as it was before the question
        if known is not None and 0 <= now - known[0] < FRESH_SECONDS:
            sealer = self._opened.get((tx.tenant_id, known[1]))
            if sealer is not None:
                return known[1], sealer
        key = key_rows.find_newest_key(tx, purpose)
        if key is None:
            return self._add(tx, purpose, 1)
        made = self._made.get(tx, {}).get(purpose)
        if made is not None and made[0] == key.id:
            return made
        if not key.wrapped:  # shredded
            self.require_tenant(tx)
        self._newest[tx.tenant_id, purpose] = (now, key.id)
        return key.id, self._remember(tx, key)

    def _add(self, tx: Transaction, purpose: str, generation: int) -> tuple[uuid.UUID, Sealer]:
        """The data key that is the newest then. Raises NotFound for a deleted tenant.

        Another process may add this generation first: then that one stays. Who keeps the master key is asked once: the
        new key need not be opened. It is known to this transaction alone, which may yet be rolled back.
        """
        self.require_tenant(tx)
        master_id = master_rows.find_current(tx)
        if master_id is None:
            raise SealBroken(private="the database knows no master key")
        draft = DataKey(self._entropy.uuid(), purpose, generation, b"", master_id, int(self._clock()))
        value = self._entropy.bytes(32)
        wrapped = self._master(master_id).seal(value, *_wrap_place(draft, tx.tenant_id))
        key_rows.add_key(tx, DataKey(draft.id, purpose, generation, wrapped, master_id, draft.created_at))
        newest = key_rows.find_newest_key(tx, purpose)
        if newest is None:
            raise SealBroken(private=f"{purpose}: the data key that was just made is gone")
        if newest.id != draft.id:
            return newest.id, self._remember(tx, newest)
        made = draft.id, Sealer(value, self._entropy)
        self._made.setdefault(tx, {})[purpose] = made
        return made

    def _remember(self, tx: Transaction, key: DataKey) -> Sealer:
        sealer = self._opened.get((tx.tenant_id, key.id))
        if sealer is None:
            sealer = Sealer(self._unwrap(key, tx.tenant_id), self._entropy)
            with self._lock:
                if len(self._opened) >= REMEMBER_AT_MOST:
                    self._opened.clear()
                    self._newest.clear()
                self._opened[tx.tenant_id, key.id] = sealer
        return sealer

    def _unwrap(self, key: DataKey, tenant_id: uuid.UUID | None) -> bytes:
        return self._master(key.master_key_id).open(key.wrapped, *_wrap_place(key, tenant_id))

    def _master(self, master_id: str) -> Wrapper:
        """Raises Unavailable where another one took its place since this process began: nothing is broken."""
        found = self._masters.get(master_id)
        if found is None:
            raise Unavailable(private=f"this process was not given the master key {master_id}")
        return found


def is_sealed(work: Work) -> bool:
    """Whether the database holds something that only its own master key opens."""
    with work.platform(writes=False) as tx:
        return bool(master_rows.list_all(tx))


def check_master_keys(work: Work, given: Sequence[MasterKey], clock: Clock, *, is_production: bool) -> None:
    """Raise Misconfigured unless every master key that the database needs is there. Writes only into an empty one."""
    with work.platform(writes=False) as tx:
        known = master_rows.list_all(tx)
        samples = {master.id: key_rows.list_oldest(tx, master.id, count=SAMPLES) for master in known}
    objections = [why for key in given if key.id not in samples for why in key.objections]
    if objections:
        raise Misconfigured(objections)
    if not known:
        with work.platform() as tx:
            master_rows.lock(tx)
            if not master_rows.list_all(tx):
                first = given[0]
                master_rows.add(tx, first.id, "current", is_development=first.is_development, now=int(clock()))
            known = master_rows.list_all(tx)
    _require_held(known, {key.id for key in given})
    for key in given:
        _require_opens(key, samples.get(key.id, ()))
    if is_production and any(master.is_development for master in known):
        remedy = "change it with PAYYMO_ENV=development payymo secret rotate-master (docs/operations/encryption.md)"
        raise Misconfigured([f"the database was sealed under a development master key: {remedy}"])


def _require_held(known: Sequence[master_rows.KnownMaster], held: Container[str]) -> None:
    missing = [master for master in known if master.id not in held]
    if missing and len(missing) == len(known):
        raise Misconfigured(
            ["the master key is not the one that this database was sealed under: restore the right one"]
        )
    if missing:
        both = f"give the one with the id {missing[0].id}, too, as PAYYMO_MASTER_KEY or PAYYMO_NEXT_MASTER_KEY"
        raise Misconfigured([f"the master key is being changed: {both}, until payymo secret rotate-master is through"])


def _require_opens(master: MasterKey, samples: Sequence[tuple[uuid.UUID | None, DataKey]]) -> None:
    """Who keeps the key elsewhere knows it by name: another one may bear it now. One row alone may be broken."""
    for tenant_id, key in samples:
        try:
            master.wrapper.open(key.wrapped, *_wrap_place(key, tenant_id))
        except TooOld as error:
            raise Misconfigured([f"{master.source}: {error.private}"]) from None
        except SealBroken:
            continue
        except Unavailable as error:
            raise Misconfigured([f"{master.source}: {error.private}"]) from None
        return
    if samples:
        why = "does not open what was sealed under it: another one has its name now. Restore it from its backup"
        raise Misconfigured([f"{master.source}: this master key {why}"])


def shred(tx: Transaction, tenant_id: uuid.UUID) -> None:
    """Step, in platform work: destroy a tenant's data keys. Nothing that was sealed for it opens again.

    Processes that hold one in memory forget it at their end; backups hold them wrapped as long as the master key lives.
    """
    key_rows.shred(tx, tenant_id)


def _whose(tenant_id: uuid.UUID | None) -> str:
    return SERVICE if tenant_id is None else tenant_id.hex


def _wrap_place(key: DataKey, tenant_id: uuid.UUID | None) -> tuple[str, ...]:
    return ("data_keys", _whose(tenant_id), key.id.hex, key.purpose, str(key.generation))
