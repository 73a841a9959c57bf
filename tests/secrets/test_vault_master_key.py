"""A master key that Vault keeps: what Vault's own changes do to it, and what happens when Vault goes away."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.db.schema import data_keys, master_keys, service_data_keys
from payymo.errors import Unavailable
from payymo.logs import Trace
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import check_master_keys, shred
from tests.cli.test_commands import Shell
from tests.support.house import MASTER_KEY, Database, House
from tests.support.processes import PAYYMO, environment, log_in, servers
from tests.support.vault import ROOT, FakeVault, Seen
from tests.support.vault_house import IN_VAULT, assert_refused, opened, reached, rotate, started, variables
from tests.support.vault_server import VaultServer, serving

PLACE = ("data_keys", "service", "1")


# ── what changes in Vault ────────────────────────────────────────────────────────────────────────────────────────────


def assert_everything_opens(database: Database, vault: VaultServer, /, **more: Any) -> None:
    house = started(database, vault, **more)
    for slug in ("a", "b", None):
        tenant_id = house.services.tenants.get_by_slug(slug).id if slug else None
        assert house.services.secrets.get("one", tenant_id=tenant_id, trace=Trace()).value == b"VALUE"
    assert house.logged_in().refresh().status_code == 200
    house.close()


def test_vaults_own_rotation_needs_nothing(moved: Database, vault: VaultServer) -> None:
    """What was sealed before opens, what is sealed from now on is under the new version; the id stays."""
    key = opened(vault)
    old = key.wrapper.seal(b"x" * 32, *PLACE)
    vault.vault.rotate_key()
    new = key.wrapper.seal(b"y" * 32, *PLACE)
    assert (old[:9], new[:9]) == (b"vault:v1:", b"vault:v2:")
    again = opened(vault)
    assert [again.wrapper.open(one, *PLACE) for one in (old, new)] == [b"x" * 32, b"y" * 32]
    assert again.id == key.id
    assert_everything_opens(moved, vault)


def test_a_raised_min_decryption_version_is_told_until_it_is_lowered(moved: Database, vault: VaultServer) -> None:
    """Nothing is lost: the way back is in the reason. After a re-encryption it may be raised."""
    sealed = opened(vault).wrapper.seal(b"x" * 32, *PLACE)
    vault.vault.rotate_key()
    facts = vault.vault.keys["payymo"].facts
    facts["min_decryption_version"] = 2
    with pytest.raises(SealBroken, check=lambda error: "older than min_decryption_version" in (error.private or "")):
        opened(vault).wrapper.open(sealed, *PLACE)
    for slug in ("x", "y", "z", "w"):  # what is under the new version opens; it is the oldest that stops
        facts["min_decryption_version"] = 1
        house = started(moved, vault)
        house.clock.advance(60)
        house.services.secrets.put("one", b"VALUE", tenant_id=house.tenant(slug).id, trace=Trace())
        house.close()
        facts["min_decryption_version"] = 2
        assert_refused(moved, vault, "PAYYMO_MASTER_KEY: .* older than min_decryption_version .*: lower that again")
    facts["min_decryption_version"] = 1
    house = started(moved, vault)
    house.services.reencryption.run(
        progress=lambda _done, _total: None,
        pause=lambda _seconds: house.clock.advance(5),
        trace=Trace(),
        whatever_age=True,
    )
    house.close()
    facts["min_decryption_version"] = 2
    assert_everything_opens(moved, vault)


def test_the_key_is_known_by_its_name_at_whatever_address(moved: Database, vault: VaultServer) -> None:
    """And another name is another key."""
    with serving(vault.vault) as elsewhere:
        assert opened(elsewhere).id == opened(vault).id
        assert_everything_opens(moved, elsewhere)
    vault.vault.make_key("payymo2")
    assert opened(vault, "vault:transit/payymo2").id != opened(vault).id


def test_a_key_that_was_made_anew_under_its_name_is_noticed(moved: Database, vault: VaultServer) -> None:
    """By whoever opens something, and by the next start, before anything is sealed under it."""
    key = opened(vault)
    sealed = key.wrapper.seal(b"x" * 32, *PLACE)
    house = started(moved, vault)
    house.services.secrets.get("one", trace=Trace())
    vault.vault.make_key()
    for one in (key, opened(vault)):
        with pytest.raises(SealBroken):
            one.wrapper.open(sealed, *PLACE)
    with pytest.raises(SealBroken):
        house.services.secrets.get("one", tenant_id=house.services.tenants.get_by_slug("a").id, trace=Trace())
    house.close()
    assert_refused(moved, vault, "PAYYMO_MASTER_KEY: this master key does not open what was sealed under it")
    del vault.vault.keys["payymo"]
    with pytest.raises(SealBroken):
        key.wrapper.open(sealed, *PLACE)


def test_one_broken_row_does_not_keep_the_service_from_starting(moved: Database, vault: VaultServer) -> None:
    """Whichever it is: the others prove that the key is the right one."""
    house, owner, columns = started(moved, vault), moved.owner(), service_data_keys.c
    with owner.connect() as connection:
        rows = connection.execute(sa.select(columns.id, columns.wrapped)).all()
    assert len(rows) > 1
    for row in rows:
        for wrapped in (b"vault:v1:AAAA", row.wrapped):
            check_master_keys(house.services.work, [opened(vault)], house.clock, is_production=False)
            with owner.begin() as connection:
                connection.execute(sa.update(service_data_keys).where(columns.id == row.id).values(wrapped=wrapped))
    owner.dispose()
    house.close()


def test_the_oldest_data_keys_are_the_proof_whosever_they_are(moved: Database, vault: VaultServer) -> None:
    """Those of the service may all open, and the first request of a tenant would not."""
    vault.vault.rotate_key()
    house = started(moved, vault)
    house.clock.advance(7200)
    house.services.reencryption.run(
        progress=lambda _done, _total: None,
        pause=lambda _seconds: house.clock.advance(5),
        trace=Trace(),
        whatever_age=True,
    )
    house.close()
    vault.vault.keys["payymo"].facts["min_decryption_version"] = 2
    owner, columns = moved.owner(), data_keys.c
    with owner.begin() as connection:
        row = connection.execute(sa.select(data_keys)).first()
        assert row is not None
        old = {"created_at": 1, "wrapped": row.wrapped.replace(b"vault:v2:", b"vault:v1:")}
        connection.execute(sa.update(data_keys).where(columns.id == row.id).values(old))
    owner.dispose()
    assert_refused(moved, vault, "older than min_decryption_version")


# ── who waits for it ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_data_key_needs_one_request(moved: Database, vault: VaultServer) -> None:
    """It is made here: nobody has to open it, while others wait for the transaction."""
    house = started(moved, vault)
    tenant = house.tenant("fresh").id
    vault.vault.seen.clear()
    house.services.secrets.put("one", b"x", tenant_id=tenant, trace=Trace())
    assert [seen.path for seen in vault.vault.seen] == ["transit/encrypt/payymo"]
    assert house.services.secrets.get("one", tenant_id=tenant, trace=Trace()).value == b"x"
    house.close()


def test_nobody_waits_while_data_keys_are_wrapped_again(sqlite_database: Database, vault: VaultServer) -> None:
    """However slow Vault is: the write lock is free whenever it is asked."""
    house = House(sqlite_database, next_master_key=IN_VAULT, **reached(vault))
    house.services.secrets.put("one", b"x", trace=Trace())
    free: list[str] = []

    def write(seen: Seen) -> None:
        other = sqlite3.connect(str(sa.make_url(sqlite_database.url).database), timeout=0)
        with closing(other), suppress(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
            free.append(seen.path)

    vault.vault.before = write
    vault.vault.seen.clear()
    rotate(house)
    assert free == [seen.path for seen in vault.vault.seen]
    assert "transit/encrypt/payymo" in free
    house.close()


def test_what_is_shredded_while_it_is_wrapped_again_stays_shredded(database: Database, vault: VaultServer) -> None:
    """The tenant is deleted while Vault is asked: its data keys must not come back."""
    house = House(database, next_master_key=IN_VAULT, **reached(vault))
    tenant = house.tenant("a").id
    house.services.secrets.put("one", b"x", tenant_id=tenant, trace=Trace())
    asked: list[str] = []

    def delete(seen: Seen) -> None:
        asked.append(seen.path)
        with house.services.work.platform() as tx:
            shred(tx, tenant)

    vault.vault.before = delete
    rotate(house)
    owner = database.owner()
    with owner.connect() as connection:
        kept = connection.execute(sa.select(data_keys.c.wrapped).where(data_keys.c.tenant_id == tenant)).scalars().all()
        assert len(connection.execute(sa.select(master_keys)).all()) == 1
    owner.dispose()
    assert asked
    assert set(kept) == {b""}
    house.close()


# ── when it goes away ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_opened_goes_on_without_vault(moved: Database, vault: VaultServer) -> None:
    """Anything else is answered with 503, and works again when Vault does."""
    house = started(moved, vault)
    a, b = (house.services.tenants.get_by_slug(slug).id for slug in ("a", "b"))
    client = house.logged_in()
    assert house.services.secrets.get("one", tenant_id=a, trace=Trace()).value == b"VALUE"
    vault.vault.is_down = True
    assert client.refresh().status_code == 200
    assert house.services.secrets.get("one", tenant_id=a, trace=Trace()).value == b"VALUE"
    with pytest.raises(Unavailable):
        house.services.secrets.get("one", tenant_id=b, trace=Trace())
    fresh = house.tenant("fresh").id
    with pytest.raises(Unavailable):
        house.services.secrets.put("one", b"x", tenant_id=fresh, trace=Trace())
    vault.vault.is_down = False
    assert house.services.secrets.get("one", tenant_id=b, trace=Trace()).value == b"VALUE"
    assert house.services.secrets.put("one", b"x", tenant_id=fresh, trace=Trace()) == 1
    assert ROOT not in house.log_lines.getvalue()
    house.close()


def test_logins_go_on_without_vault(moved: Database, vault: VaultServer) -> None:
    """Their keys are opened at the start, also those that sign next."""
    house = started(moved, vault)
    vault.vault.is_down = True
    client = house.client()
    assert client.log_in().status_code == 200
    house.clock.advance(31 * 86_400)
    house.services.do_duties(Trace())
    assert client.log_in().status_code == 200
    house.close()


DIRECTIONS = {"to Vault": (MASTER_KEY, IN_VAULT), "from Vault": (IN_VAULT, MASTER_KEY)}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_rotation_in_which_vault_goes_away_leaves_everything_readable_and_is_finished_by_the_next(
    moved: Database, vault: VaultServer, direction: str
) -> None:
    """At its first request, its second, and so on, asked or answered."""
    first, following = DIRECTIONS[direction]
    if first == MASTER_KEY:
        back = started(moved, vault, next_master_key=MASTER_KEY)
        rotate(back)
        back.close()
    fake, number, is_done = vault.vault, 0, False
    while not is_done:
        number += 1
        house = House(moved, master_key=first, next_master_key=following, **reached(vault))
        for cut in (goes_away_before(number), loses_the_answer(number)):
            cut(fake)
            try:
                rotate(house)
                is_done = True
            except Unavailable:
                assert number < 40
            fake.before, fake.instead, fake.is_down = lambda _seen: None, lambda _seen: None, False
        house.close()
        both = {"master_key": first, "next_master_key": following}
        assert_everything_opens(moved, vault, **both)
    assert number >= 3
    assert_everything_opens(moved, vault, master_key=following)


def goes_away_before(number: int) -> Callable[[FakeVault], None]:
    def change(fake: FakeVault) -> None:
        end = len(fake.seen) + number

        def look(_seen: Seen) -> None:
            fake.is_down = fake.is_down or len(fake.seen) + 1 >= end

        fake.before = look

    return change


def loses_the_answer(number: int) -> Callable[[FakeVault], None]:
    def change(fake: FakeVault) -> None:
        end = len(fake.seen) + number
        fake.instead = lambda _seen: (502, {}, b"") if len(fake.seen) >= end else None

    return change


# ── whole processes ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shell(sqlite_database: Database, vault: VaultServer) -> Shell:
    """Commands on a database with a local master key, with Vault in reach."""
    House(sqlite_database, clock=system_clock).close()
    return Shell(sqlite_database, **variables(vault))


def test_by_command_to_vault_and_back_again(shell: Shell) -> None:
    """With the existing rotation, one setting at a time."""
    shell.json("secret", "put", "one", stdin="VALUE")
    for first, following in ((MASTER_KEY, IN_VAULT), (IN_VAULT, MASTER_KEY)):
        shell.environment |= {"PAYYMO_MASTER_KEY": first, "PAYYMO_NEXT_MASTER_KEY": following}
        assert shell.json("secret", "rotate-master", "--dry-run")["data_keys_to_wrap"] > 0
        assert shell.json("secret", "rotate-master", "--yes")["data_keys_wrapped"] > 0
        shell.environment |= {"PAYYMO_MASTER_KEY": following, "PAYYMO_NEXT_MASTER_KEY": None}
        assert shell.run("secret", "get", "one").stdout == "VALUE"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_with_workers_serves_with_a_key_in_vault_and_does_not_start_without(
    moved: Database, vault: VaultServer
) -> None:
    """Each worker with connections of its own; who starts it later reads why it doesn't."""
    more = {"PAYYMO_MASTER_KEY": IN_VAULT, "PAYYMO_SERVER__WORKERS": "2", **variables(vault)}
    with servers(moved, 1, **more) as [server], server.client() as client:
        for _ in range(4):
            log_in(client)
    vault.vault.is_sealed = True
    words = [PAYYMO, "serve", "--port", "5999"]
    done = subprocess.run(
        words, env=environment(moved, **more), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "PAYYMO_MASTER_KEY: Vault at" in done.stderr
    assert "it is sealed" in done.stderr
    assert "Traceback" not in done.stderr
    assert ROOT not in done.stderr + done.stdout
