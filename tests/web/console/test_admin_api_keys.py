"""`/admin/api-keys`: keys that are made, shown once, listed, and revoked."""

import re

import pytest

from payymo.apikeys.model import Draft
from payymo.logs import Trace
from tests.support.house import House
from tests.support.surfer import Surfer, signed_in, text_of

KEYS = "/admin/api-keys"


@pytest.fixture
def boss(house: House) -> Surfer:
    """An administrator, signed in, who may hand out what one of the tenant's own roles grants."""
    house.services.roles.create(house.default.id, "clerk", ["invoices:read", "invoices:write"], by=None, trace=Trace())
    house.services.roles.create(house.default.id, "auditor", ["ledger:read"], by=None, trace=Trace())
    house.user("boss", roles=("tenant-administrator", "clerk"))
    return signed_in(house, "boss")


def test_a_key_is_shown_once_and_works(house: House, boss: Surfer) -> None:
    """It is on no other page and in no log, and neither a browser nor a proxy keeps the page."""
    page = text_of(boss.open("GET", f"{KEYS}/new"))
    assert 'value="invoices:read"' in page
    assert 'value="ledger:read"' not in page  # which they have not themselves
    made = boss.force(f"{KEYS}/new", name="nightly", permissions=["invoices:read"], others="users:read", days="30")
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    [secret] = re.findall(r"payymo_[0-9a-f]{32}_[\w-]{43}", text_of(made))
    [listed] = house.services.api_keys.list_keys(house.default.id)
    key = listed.key
    assert key.permissions == ("invoices:read", "users:read")
    assert key.expires_at == int(house.clock()) + 30 * 86_400
    assert house.services.api_keys.look_at(str(key.id), secret, named_tenant_id=None).reason is None
    page = text_of(boss.open("GET", KEYS))
    assert secret not in page + house.log_lines.getvalue()
    assert "boss</a>" in page
    assert "invoices:read" in page
    assert boss.force(f"{KEYS}/{key.id}/revoke").headers["Location"].startswith(KEYS)
    assert house.services.api_keys.look_at(str(key.id), secret, named_tenant_id=None).reason == "revoked"
    assert ">revoked</span>" in text_of(boss.open("GET", KEYS))


def test_what_can_not_be_a_key_is_said_where_it_was_typed(house: House, boss: Surfer) -> None:
    """Nothing that was typed is lost, and nobody hands out what they don't have."""
    wrong = boss.force(f"{KEYS}/new", name="Nightly", permissions=["invoices:read"], others="<b>", days="30")
    page = text_of(wrong)
    assert wrong.status_code == 422
    assert re.search(r'id="others-problem">write permissions as resource:action', page)
    assert 'id="name-problem"' in page
    assert 'value="invoices:read" checked' in page
    assert ">&lt;b&gt;</textarea>" in wrong.text
    refused = boss.force(f"{KEYS}/new", name="nightly", others="ledger:read")
    assert refused.status_code == 403
    assert boss.force(f"{KEYS}/new", name="nightly").status_code == 422
    assert house.services.api_keys.list_keys(house.default.id) == ()


def test_who_may_only_read_is_offered_no_act(house: House) -> None:
    """And who may not even that sees no page."""
    house.services.roles.create(house.default.id, "looker", ["apikeys:read"], by=None, trace=Trace())
    house.user("looker", roles=("looker",))
    house.user("alice")
    draft = Draft("nightly", ("invoices:read",))
    key = house.services.api_keys.create(house.default.id, draft, by=None, trace=Trace()).key
    looker, alice = signed_in(house, "looker"), signed_in(house, "alice")
    page = text_of(looker.open("GET", KEYS))
    assert "nightly" in page
    assert "the operator" in page
    assert "/revoke" not in page
    for path in (f"{KEYS}/new", f"{KEYS}/{key.id}/revoke"):
        assert looker.open("GET", path).status_code == 403
        assert looker.force(path, name="x", others="a:b").status_code == 403
    assert alice.open("GET", KEYS).status_code == 403
    assert house.services.api_keys.get(house.default.id, key.id).revoked_at is None
