"""Envelope encryption on both databases: what opens where, under which keys, and who may start."""

import os

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.db.schema import data_keys, master_keys, service_secrets
from payymo.entropy import Entropy
from payymo.errors import Misconfigured, Unavailable
from payymo.logs import Trace
from payymo.sealed import Sealed
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Envelope
from payymo.secrets.master import read_key, write_key
from tests.support.crew import Crew
from tests.support.house import MASTER_KEY, Database, House

OTHER_KEY = write_key(bytes(range(32, 64)), development=False)
PLACE = ("cards", "7", "1", "number")


def envelope_of(house: House) -> Envelope:
    """Another process's, which has opened nothing yet."""
    return Envelope(house.clock, Entropy(), [read_key(MASTER_KEY, "here", Entropy())])


def test_a_value_opens_where_it_was_sealed_and_nowhere_else(house: House) -> None:
    """Invariant 15: tenant, table, row, version and column are part of the seal; so is the service, which is nobody."""
    a, b = house.tenant("a").id, house.tenant("b").id
    envelope, work = envelope_of(house), house.services.work
    with work(a) as tx:
        sealed = envelope.seal(tx, "cards", b"4242", *PLACE)
    with work(b) as tx:
        envelope.seal(tx, "cards", b"1111", *PLACE)
    with work(a) as tx:
        assert envelope.open(tx, sealed, *PLACE) == b"4242"
        for moved in (("cards", "8", "1", "number"), ("cards", "7", "2", "number"), ("cards", "7", "1", "holder")):
            with pytest.raises(SealBroken):
                envelope.open(tx, sealed, *moved)
    for other in (envelope, envelope_of(house)):
        with work(b) as tx, pytest.raises(SealBroken):
            other.open(tx, sealed, *PLACE)
        with work.platform() as tx, pytest.raises(SealBroken):
            other.open(tx, sealed, *PLACE)


def test_a_swapped_or_rolled_back_row_is_detected(house: House) -> None:
    """Invariant 15: whoever can write to the database can't put one secret, or an old version, in another's place."""
    kept = house.services.secrets
    for name, value in (("one", b"1"), ("one", b"2"), ("two", b"3")):
        kept.put(name, value, trace=Trace())
    owner, c = house.database.owner(), service_secrets.c
    with owner.begin() as connection:
        rows = {(row.name, row.version): row.sealed for row in connection.execute(sa.select(service_secrets))}
        for (name, version), other in ((("one", 2), ("one", 1)), (("two", 1), ("one", 2))):
            change = sa.update(service_secrets).where(c.name == name, c.version == version).values(sealed=rows[other])
            connection.execute(change)
    owner.dispose()
    for name in ("one", "two"):
        with pytest.raises(SealBroken):
            kept.get(name, trace=Trace())
    assert kept.get("one", 1, trace=Trace()).value == b"1"
    reads = [event for event in house.events() if event["event"] == "secret.read"]
    assert [event["outcome"] for event in reads] == ["refused", "refused", "success"]


def test_no_data_key_lies_in_the_database_as_it_is(house: House) -> None:
    """Invariant 16: what is there opens under the master key alone."""
    house.services.secrets.put("one", b"1", trace=Trace())
    with house.services.work.platform() as tx:
        with pytest.raises(Unavailable):
            Envelope(house.clock, Entropy(), [read_key(OTHER_KEY, "here", Entropy())]).seal(tx, "secrets", b"x", *PLACE)
        assert envelope_of(house).seal(tx, "secrets", b"x", *PLACE).data_key_id


def test_a_data_key_of_a_transaction_that_was_undone_is_not_used_again(house: House) -> None:
    """What is remembered and is not in the database would seal values that nobody opens again."""
    tenant, envelope, work = house.tenant("a").id, envelope_of(house), house.services.work
    lost: list[Sealed] = []
    with pytest.raises(ZeroDivisionError), work(tenant) as tx:
        divmod(len(lost := [envelope.seal(tx, "cards", b"x", *PLACE) for _ in range(3)]), 0)
    with work(tenant) as tx:
        kept = envelope.seal(tx, "cards", b"x", *PLACE)
    assert kept.data_key_id != lost[0].data_key_id
    with work(tenant) as tx:
        assert envelope_of(house).open(tx, kept, *PLACE) == b"x"


def test_many_that_seal_for_the_first_time_make_one_data_key(house: House) -> None:
    """Threads, each a process of its own as far as it knows: one key per tenant and purpose, and every value opens."""
    tenant, work = house.tenant("a").id, house.services.work

    def seal(number: int) -> Sealed:
        with work(tenant) as tx:
            return envelope_of(house).seal(tx, "cards", b"%d" % number, *PLACE)

    with Crew(8) as pool:
        sealed = list(pool.map(seal, range(8)))
    assert len({one.data_key_id for one in sealed}) == 1
    with work(tenant) as tx:
        assert [envelope_of(house).open(tx, one, *PLACE) for one in sealed] == [b"%d" % n for n in range(8)]


def test_the_database_keeps_a_key_as_long_as_something_needs_it(house: House) -> None:
    """Foreign keys, not care: no way of ours or of an operator's leaves a value that nothing opens."""
    tenant = house.tenant("a")
    house.services.secrets.put("one", b"1", tenant_id=tenant.id, trace=Trace())
    owner = house.database.owner()
    for table in (data_keys, master_keys):
        with owner.connect() as connection:
            connection.execute(sa.text("PRAGMA foreign_keys=ON")) if not house.database.is_postgres else None
            with pytest.raises(sa.exc.IntegrityError):
                connection.execute(sa.delete(table))
    owner.dispose()


def started_with(database: Database, master: str, following: str | None = None, **more: object) -> None:
    """Start and stop."""
    House(database, clock=system_clock, master_key=master, next_master_key=following, **more).close()


def test_a_wrong_or_missing_master_key_starts_nothing_and_writes_nothing(database: Database) -> None:
    """Invariant 16."""
    started_with(database, MASTER_KEY)
    with pytest.raises(Misconfigured, match="not the one that this database was sealed under"):
        started_with(database, OTHER_KEY)
    with pytest.raises(Misconfigured, match="not the one that this database was sealed under"):
        started_with(database, OTHER_KEY, write_key(os.urandom(32), development=False))
    started_with(database, MASTER_KEY)
    started_with(database, MASTER_KEY, OTHER_KEY)


def test_a_development_key_stays_one_under_another_name(sqlite_database: Database) -> None:
    """Production asks the database, too: the same bytes in a real key's form are no better."""
    development = write_key(bytes(range(32)), development=True)
    owner = sqlite_database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(master_keys).values(is_development=True))
    owner.dispose()
    assert read_key(development, "x", Entropy()).id == read_key(MASTER_KEY, "x", Entropy()).id
    started_with(sqlite_database, MASTER_KEY)
    production = {"env": "production", "issuer": "https://auth.example.com", "limits": {}, "lockout": {}}
    with pytest.raises(Misconfigured, match="development master key"):
        started_with(sqlite_database, MASTER_KEY, **production)


def test_a_master_key_can_be_in_a_file_that_only_its_owner_reads(sqlite_database: Database) -> None:
    """Named by URI; what is missing, open to others or no key is named with its remedy."""
    path = sqlite_database.data / "elsewhere.key"
    with pytest.raises(Misconfigured, match="there is no file"):
        started_with(sqlite_database, f"file:{path}")
    path.write_text(MASTER_KEY + "\n")
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        started_with(sqlite_database, f"file:{path}")
    path.chmod(0o600)
    sqlite_database.data.chmod(0o700)
    started_with(sqlite_database, f"file:{path}")
    path.write_text(MASTER_KEY[:-4])
    with pytest.raises(Misconfigured, match="not a master key"):
        started_with(sqlite_database, f"file:{path}")


def test_fields_are_walled_off_like_everything_else(house: House) -> None:
    """Invariant 10: tenants' secrets of one name are two secrets."""
    a, b = house.tenant("a").id, house.tenant("b").id
    for tenant in (a, b, None):
        house.services.secrets.put("same", str(tenant).encode(), tenant_id=tenant, trace=Trace())
    for tenant in (a, b, None):
        found = house.services.secrets.get("same", tenant_id=tenant, trace=Trace())
        assert (found.version, found.value) == (1, str(tenant).encode())


def test_production_takes_no_development_key_as_the_next_one(sqlite_database: Database) -> None:
    """The change would succeed, and the service not start again."""
    production = {"env": "production", "issuer": "https://auth.example.com", "limits": {}, "lockout": {}}
    development = write_key(bytes(range(32, 64)), development=True)
    with pytest.raises(Misconfigured, match="PAYYMO_NEXT_MASTER_KEY holds a development master key"):
        started_with(sqlite_database, MASTER_KEY, development, **production)
    started_with(sqlite_database, MASTER_KEY, OTHER_KEY, **production)
