"""One suite for everything that wraps data keys: a key of ours, one that Vault keeps, one in a hardware token."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from payymo.config import Settings
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.logs import Trace
from payymo.secrets.encryption import SealBroken
from payymo.secrets.hsm_master import make_master_key
from payymo.secrets.master import read_setting, write_key
from payymo.secrets.model import MasterKey
from payymo.start import access_of
from tests.support.crew import Crew
from tests.support.house import MASTER_KEY, Database, House, fresh_name
from tests.support.softhsm import LABEL, PIN, SoftHsm
from tests.support.vault import ROOT
from tests.support.vault_server import VaultServer

PLACE = ("data_keys", "service", "1", "secrets", "1")
DATA_KEY = bytes(range(100, 132))


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who keeps master keys: two settings that name one each, and the settings with which they are reached."""

    setting: str
    other: str
    hidden: tuple[str, ...]
    """What nobody should see of them."""
    reached_by: dict[str, Any] = field(default_factory=dict)

    def open(self, setting: str | None = None) -> MasterKey:
        """The master key, as at a start of the service."""
        access = access_of(Settings(**self.reached_by))
        return read_setting(setting or self.setting, "THE_SETTING", access, Entropy())


def _local(_request: pytest.FixtureRequest) -> Keeper:
    keys = [write_key(bytes(range(first, first + 32)), development=False) for first in (32, 64)]
    return Keeper(keys[0], keys[1], (keys[0].partition(":")[2],))


def _transit(request: pytest.FixtureRequest) -> Keeper:
    server: VaultServer = request.getfixturevalue("vault")
    server.vault.make_key("other")
    reached_by = {"vault": {"address": server.address, "token": ROOT}}
    return Keeper("vault:transit/payymo", "vault:transit/other", (ROOT,), reached_by)


def _hardware(request: pytest.FixtureRequest) -> Keeper:
    hsm: SoftHsm = request.getfixturevalue("hsm")
    keys = [make_master_key(f"pkcs11:token={LABEL};object={fresh_name()}", "here", hsm.access) for _ in range(2)]
    return Keeper(keys[0], keys[1], (PIN,), {"pkcs11": hsm.settings})


KEEPERS: dict[str, Callable[[pytest.FixtureRequest], Keeper]] = {
    "local": _local,
    "transit": _transit,
    "hardware": _hardware,
}


@pytest.fixture(params=KEEPERS)
def keeper(request: pytest.FixtureRequest) -> Keeper:
    """Each one in turn."""
    return KEEPERS[request.param](request)


def test_what_was_sealed_opens_in_another_process(keeper: Keeper) -> None:
    """As it was, and never twice the same: nobody sees which data keys are alike."""
    sealed = [keeper.open().wrapper.seal(DATA_KEY, *PLACE) for _ in range(2)]
    assert [keeper.open().wrapper.open(one, *PLACE) for one in sealed] == [DATA_KEY, DATA_KEY]
    assert sealed[0] != sealed[1]
    assert DATA_KEY not in sealed[0]


@pytest.mark.parametrize("size", [1, 2, 3, 32])
def test_a_changed_bit_anywhere_does_not_open(keeper: Keeper, size: int) -> None:
    """Also none that a lenient decoder would overlook, whatever the length."""
    wrapper = keeper.open().wrapper
    sealed = wrapper.seal(DATA_KEY[:size], *PLACE)
    for number in range(len(sealed)):
        for bit in (0, 3, 7):
            changed = bytearray(sealed)
            changed[number] ^= 1 << bit
            with pytest.raises(SealBroken):
                wrapper.open(bytes(changed), *PLACE)


MOVED = [
    ("data_keys", "service", "2", "secrets", "1"),
    ("data_keys", "service", "1", "secrets"),
    ("data_keys", "service", "1", "secrets", "1", ""),
    ("data_keys", "service1", "", "secrets", "1"),
    (),
]


@pytest.mark.parametrize("place", MOVED, ids="/".join)
def test_a_moved_place_does_not_open(keeper: Keeper, place: tuple[str, ...]) -> None:
    """Invariant 15, for data keys: whose it is, and which."""
    wrapper = keeper.open().wrapper
    with pytest.raises(SealBroken):
        wrapper.open(wrapper.seal(DATA_KEY, *PLACE), *place)


def test_another_key_does_not_open(keeper: Keeper) -> None:
    """And has another id."""
    sealed = keeper.open().wrapper.seal(DATA_KEY, *PLACE)
    with pytest.raises(SealBroken):
        keeper.open(keeper.other).wrapper.open(sealed, *PLACE)
    assert keeper.open(keeper.other).id != keeper.open().id


def test_what_was_cut_or_is_of_somebody_else_does_not_open(keeper: Keeper) -> None:
    """Every length, more than there was, and what was never sealed."""
    wrapper = keeper.open().wrapper
    sealed = wrapper.seal(DATA_KEY, *PLACE)
    strange = [b"\xff" * 60, b"\x01" * 60, b"vault:v1:", b"vault:v1:AAAA", "ä".encode(), b"\n"]
    for other in [*(sealed[:size] for size in range(len(sealed))), sealed + b"A", sealed + b"\n", *strange]:
        with pytest.raises(SealBroken):
            wrapper.open(other, *PLACE)


def test_the_id_is_the_same_at_every_start_and_no_secret(keeper: Keeper) -> None:
    """The database says by it what is wrapped under which key."""
    first, second = keeper.open(), keeper.open()
    assert first.id == second.id
    assert len(first.id) == 32
    assert first.source == "THE_SETTING"
    assert not first.is_development


def test_the_repr_hides_everything(keeper: Keeper) -> None:
    """Also that of the wrapper, which a traceback may show."""
    key = keeper.open()
    shown = f"{key} {key!r} {key.wrapper} {key.wrapper!r}"
    for hidden in keeper.hidden:
        assert hidden not in shown


def test_threads_seal_and_open_side_by_side(keeper: Keeper) -> None:
    """Each gets its own answer."""
    wrapper = keeper.open().wrapper

    def turn(number: int) -> bool:
        value, place = bytes([number]) * 32, (*PLACE, str(number))
        return wrapper.open(wrapper.seal(value, *place), *place) == value

    with Crew(8) as pool:
        assert all(pool.map(turn, range(64)))


def rotated(database: Database, master: str, following: str, keeper: Keeper) -> None:
    """A whole service in which the next master key takes over."""
    house = House(database, master_key=master, next_master_key=following, **keeper.reached_by)
    to = house.services.next_master_key
    assert to is not None
    done = house.services.master_rotation.run(to, progress=lambda _done, _total: None, trace=Trace())
    assert done > 0
    house.close()


def assert_serves_with(database: Database, master: str, keeper: Keeper) -> None:
    """With this master key alone, in a process that has opened nothing yet."""
    house = House(database, master_key=master, **keeper.reached_by)
    tenant = house.services.tenants.get_by_slug("acme")
    assert house.services.secrets.get("one", tenant_id=tenant.id, trace=Trace()).value == b"VALUE"
    assert house.logged_in().refresh().status_code == 200
    house.services.secrets.put("more", b"x", tenant_id=house.tenant(fresh_name()).id, trace=Trace())
    house.close()


def test_the_master_key_changes_to_it_and_back_again(keeper: Keeper, database: Database) -> None:
    """Everything under the envelope: signing keys, secrets, tenants; and with the other key alone nothing starts."""
    house = House(database)
    house.user("alice")
    house.services.secrets.put("one", b"VALUE", tenant_id=house.tenant("acme").id, trace=Trace())
    house.close()
    rotated(database, MASTER_KEY, keeper.setting, keeper)
    assert_serves_with(database, keeper.setting, keeper)
    for wrong in (MASTER_KEY, keeper.other):
        with pytest.raises(Misconfigured, match="not the one that this database was sealed under"):
            House(database, master_key=wrong, **keeper.reached_by)
    rotated(database, keeper.setting, keeper.other, keeper)
    rotated(database, keeper.other, MASTER_KEY, keeper)
    assert_serves_with(database, MASTER_KEY, keeper)
