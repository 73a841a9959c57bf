"""`payymo apikey` as an operator uses it."""

import pytest

from payymo.apikeys.model import DAY_SECONDS
from tests.cli.test_commands import Shell
from tests.support.house import Database, House


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


def test_a_key_from_its_making_to_its_end(shell: Shell, house: House) -> None:
    """Made, listed without its secret, and revoked, which is refused at once; of the named tenant alone."""
    made = shell.json("apikey", "create", "nightly", "--permission", "invoices:read", "--days", "30")
    secret, key_id = made["secret"], made["id"]
    keys, tenant_id = house.services.api_keys, house.default.id
    listed = shell.run("apikey", "list", "--json")
    assert secret.split("_", 2)[2] not in listed.output
    [row] = shell.json("apikey", "list")
    assert (row["name"], row["state"], row["created_by"], row["last_used_at"]) == ("nightly", "active", None, None)
    assert row["expires_at"] - row["created_at"] == 30 * DAY_SECONDS
    house.tenant("acme")
    assert shell.run("apikey", "revoke", key_id, "--yes", "--tenant", "acme").exit_code == 1
    assert keys.get(tenant_id, keys.list_keys(tenant_id)[0].key.id).revoked_at is None
    assert shell.json("apikey", "revoke", key_id, "--yes") == {"revoked": key_id}
    assert [row["state"] for row in shell.json("apikey", "list")] == ["revoked"]


def test_what_can_not_be_a_key_is_refused(shell: Shell) -> None:
    """Also by the operator: across tenants no key reaches."""
    assert shell.run("apikey", "create", "nightly").exit_code == 2
    refused = shell.run("apikey", "create", "nightly", "--permission", "tenants:read")
    assert refused.exit_code == 1
    assert "across tenants" in refused.stderr
    assert shell.json("apikey", "list") == []
