"""API keys: who makes them from what, how many, and what is left of them."""

import pytest
import sqlalchemy as sa

from payymo.apikeys.model import DAY_SECONDS, DAYS_AT_MOST, KEYS_AT_MOST, ApiKey, Draft, narrowed
from payymo.db.schema import api_keys
from payymo.errors import Conflict, InvalidInput, NotFound
from payymo.logs import Trace
from tests.support.house import Client, House

KEYS = "/api/admin/api-keys"


def make(house: House, name: str = "nightly", *permissions: str, days: int = 90) -> ApiKey:
    """A key that the operator has made."""
    draft = Draft(name, permissions or ("invoices:read",), days)
    return house.services.api_keys.create(house.default.id, draft, by=None, trace=Trace()).key


@pytest.fixture
def boss(house: House) -> Client:
    """A tenant's administrator, logged in."""
    house.user("boss", roles=("tenant-administrator",))
    return house.logged_in("boss")


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        (None, ("invoices:*", "users:read")),
        ("", ("invoices:*", "users:read")),
        ("  ", ("invoices:*", "users:read")),
        ("users:read", ("users:read",)),
        ("invoices:read users:read invoices:read", ("invoices:read", "users:read")),
        ("invoices:*", ("invoices:*",)),
        ("users:write", None),
        ("users:*", None),
        ("*:*", None),
        ("users", None),
        ("users:read:x", None),
        ("users:read\tinvoices:read", None),
        (" ".join(f"invoices:a{number}" for number in range(51)), None),
    ],
)
def test_a_scope_narrows_and_never_widens(scope: str | None, granted: tuple[str, ...] | None) -> None:
    """RFC 6749 §3.3: a subset of what the key may do, all of it without, and nothing when it is more."""
    assert narrowed(("invoices:*", "users:read"), scope) == granted


@pytest.mark.parametrize(
    ("name", "permissions", "days", "pointer"),
    [
        ("", ("a:b",), 90, "/name"),
        ("Nightly", ("a:b",), 90, "/name"),
        ("-x", ("a:b",), 90, "/name"),
        ("x" * 64, ("a:b",), 90, "/name"),
        ("x", (), 90, "/permissions"),
        ("x", tuple(f"a:b{number}" for number in range(51)), 90, "/permissions"),
        ("x", ("invoices",), 90, "/permissions"),
        ("x", ("tenants:read",), 90, "/permissions"),
        ("x", ("platform:read",), 90, "/permissions"),
        ("x", ("*:read",), 90, "/permissions"),
        ("x", ("a:b",), 0, "/days"),
        ("x", ("a:b",), DAYS_AT_MOST + 1, "/days"),
    ],
)
def test_what_can_not_be_a_key_is_refused(name: str, permissions: tuple[str, ...], days: int, pointer: str) -> None:
    """No key without a name, without an end, or across tenants: not even the operator makes one."""
    with pytest.raises(InvalidInput) as refused:
        Draft(name, permissions, days)
    assert {problem.pointer for problem in refused.value.errors} == {pointer}


def test_nobody_gives_a_key_what_they_do_not_have(boss: Client) -> None:
    """Invariant 11: no escalation, also not by a wildcard that happens to stand for what one has."""
    for permission in ("invoices:read", "audit:*", "audit:write"):
        refused = boss.post(KEYS, {"name": "nightly", "permissions": ["users:read", permission]})
        assert (refused.status_code, refused.get_json()["code"]) == (403, "insufficient_scope")
    assert boss.post(KEYS, {"name": "nightly", "permissions": ["users:*", "audit:read"]}).status_code == 201


def test_a_key_is_listed_with_who_made_it_and_never_with_its_secret(house: House, boss: Client) -> None:
    """What is kept of a secret is a digest; the list says whose key it is."""
    made = boss.post(KEYS, {"name": "nightly", "permissions": ["users:read"], "days": 1})
    secret = made.get_json()["data"]["secret"]
    make(house, "operators")
    answer = boss.get(KEYS)
    found = {key["name"]: key for key in answer.get_json()["data"]["api_keys"]}
    assert (found["nightly"]["created_by"], found["operators"]["created_by"]) == ("boss", None)
    assert found["nightly"]["expires_at"] == int(house.clock()) + DAY_SECONDS
    assert (found["nightly"]["state"], found["nightly"]["last_used_at"]) == ("active", None)
    assert secret not in answer.get_data(as_text=True)
    assert secret not in house.log_lines.getvalue()
    with house.services.work.platform(writes=False) as tx:
        rows = tx.execute(sa.select(api_keys)).all()
    assert secret.split("_", 2)[2] not in repr(rows)


def test_a_living_name_is_taken_once(house: House) -> None:
    """An expired or revoked key gives its name back, and stays on the list as what it was."""
    first = make(house, days=1)
    with pytest.raises(Conflict):
        make(house)
    house.clock.advance(DAY_SECONDS)
    second = make(house)
    house.services.api_keys.revoke(house.default.id, second.id, by=None, trace=Trace())
    third = make(house)
    found = [(one.key.id, one.key.state(house.clock())) for one in house.services.api_keys.list_keys(house.default.id)]
    assert found[0] == (third.id, "active")
    assert set(found[1:]) == {(first.id, "expired"), (second.id, "revoked")}


def test_living_keys_are_bounded(house: House) -> None:
    """One more than there may be is refused; one that has expired makes room."""
    for number in range(KEYS_AT_MOST):
        make(house, f"key-{number}", days=1 if number == 0 else 90)
    with pytest.raises(Conflict):
        make(house, "one-more")
    house.clock.advance(DAY_SECONDS)
    make(house, "one-more")


def test_a_key_of_nobody_is_not_found(house: House) -> None:
    """Also when it is another tenant's."""
    theirs = make(house)
    for tenant, key_id in ((house.default, house.services.entropy.uuid()), (house.tenant("other"), theirs.id)):
        with pytest.raises(NotFound):
            house.services.api_keys.revoke(tenant.id, key_id, by=None, trace=Trace())


def test_a_tenant_takes_its_keys_along(house: House) -> None:
    """Deleting a tenant leaves no key of it."""
    other = house.tenant("other")
    house.services.api_keys.create(other.id, Draft("nightly", ("a:b",)), by=None, trace=Trace())
    administration = house.services.administration
    administration.suspend(other.id, by=None, trace=Trace())
    administration.delete_tenant(other.id, by=None, progress=lambda _rows: None, trace=Trace())
    with house.services.work.platform(writes=False) as tx:
        assert tx.execute(sa.select(api_keys)).all() == []
