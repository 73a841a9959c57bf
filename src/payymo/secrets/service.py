"""Opens the vault: makes sure that this master key is the one that the database was sealed under."""

from payymo.clock import Clock
from payymo.db.work import Work
from payymo.errors import Misconfigured
from payymo.secrets import store
from payymo.secrets.encryption import SealBroken, Sealer

CHECK = "master-key-check"
_PLACE = ("service_secrets", CHECK, "sealed")


def is_sealed(work: Work) -> bool:
    """Whether the database holds something that only its own master key opens."""
    with work.platform(writes=False) as tx:
        return store.find_sealed(tx, CHECK) is not None


def check_master_key(work: Work, sealer: Sealer, clock: Clock) -> None:
    """Raise Misconfigured unless the master key opens what is in the database. Writes only into an empty one."""
    with work.platform() as tx:
        sealed = store.find_sealed(tx, CHECK)
        if sealed is None:
            store.add_sealed(tx, CHECK, sealer.seal(b"payymo", *_PLACE), created_at=int(clock()))
            sealed = store.find_sealed(tx, CHECK)
    try:
        sealer.open(sealed or b"", *_PLACE)
    except SealBroken:
        raise Misconfigured(
            ["the master key is not the one that this database was sealed under: restore the right one"]
        ) from None
