"""Named secrets in Vault: what is refused or not there, who is told why, and that nobody is told more."""

import json
from collections.abc import Callable

import pytest

from payymo.errors import Conflict, Misconfigured, NotFound, Unavailable
from payymo.logs import Trace
from payymo.secrets.model import MAX_SECRET_BYTES, Access
from payymo.secrets.vault_secrets import VaultSecrets, open_secrets
from tests.cli.test_commands import Shell
from tests.support.house import START, Database, House
from tests.support.vault import ROOT, FakeVault, Policy
from tests.support.vault_server import VaultServer, access_to, serving

Act = Callable[[VaultSecrets], object]
NEEDS: dict[str, tuple[Act, str]] = {
    "secret/data/payymo/a read": (lambda kept: kept.find("a", 1), "read on secret/data/payymo/a"),
    "secret/data/payymo/a update": (lambda kept: kept.put("a", b"x"), "create and update on secret/data/payymo/a"),
    "secret/metadata/payymo/a read": (lambda kept: kept.put("a", b"x"), "read on secret/metadata/payymo/a"),
    "secret/metadata/payymo/ list": (lambda kept: kept.list_versions(), "list on secret/metadata/payymo/"),
    "secret/delete/payymo/a update": (lambda kept: kept.retire("a", 1), "update on secret/delete/payymo/a"),
    "secret/destroy/payymo/a update": (lambda kept: kept.retire("a", 1), "update on secret/destroy/payymo/a"),
}
DOCUMENTED: Policy = {
    "secret/data/payymo/*": {"create", "read", "update"},
    "secret/metadata/payymo/*": {"list", "read"},
    "secret/delete/payymo/*": {"update"},
    "secret/destroy/payymo/*": {"update"},
}


def test_the_documented_policy_is_enough(vault: VaultServer) -> None:
    """docs/operations/vault.md."""
    vault.vault.tokens["hvs.service"] = DOCUMENTED
    kept = open_secrets("vault:secret/payymo", access_to(vault.address, "hvs.service"), vault.vault.clock)
    assert [kept.put("a", value) for value in (b"1", b"2")] == [1, 2]
    assert kept.retire("a", 2)
    assert kept.find("a", None) is not None
    assert len(kept.list_versions()) == 2


@pytest.mark.parametrize("missing", NEEDS)
def test_a_permission_that_is_missing_is_named(vault: VaultServer, kept: VaultSecrets, missing: str) -> None:
    """With the path of the policy, and never the token."""
    kept.put("a", b"1")
    path, capability = missing.split(" ")
    act, sentence = NEEDS[missing]
    others = {"create", "read", "update", "delete", "list"} - {capability}
    vault.vault.tokens["hvs.service"] = {"*": vault.vault.tokens[ROOT]["*"], path: others}
    lacking = open_secrets("vault:secret/payymo", access_to(vault.address, "hvs.service"), vault.vault.clock)
    with pytest.raises(Misconfigured, match=f"{sentence}: refused") as refused:
        act(lacking)
    assert "hvs" not in str(refused.value)


ACTS: list[Act] = [
    lambda kept: kept.find("a", None),
    lambda kept: kept.find("a", 1),
    lambda kept: kept.put("a", b"x"),
    lambda kept: kept.list_versions(),
    lambda kept: kept.retire("a", 1),
]


@pytest.mark.parametrize("act", ACTS)
def test_a_mount_that_is_not_there_is_no_empty_one(vault: VaultServer, act: Act) -> None:
    """A misspelt mount would look like a service without secrets."""
    elsewhere = open_secrets("vault:secrets/payymo", access_to(vault.address), vault.vault.clock)
    with pytest.raises(Misconfigured, match="there is no secrets engine at secrets"):
        act(elsewhere)


@pytest.mark.parametrize("act", ACTS)
def test_when_vault_is_away_that_is_said_by_everything(vault: VaultServer, kept: VaultSecrets, act: Act) -> None:
    """Nothing looks as if there were no secrets."""
    vault.vault.is_sealed = True
    with pytest.raises(Unavailable, check=lambda error: "sealed" in (error.private or "")):
        act(kept)


STRANGE_ANSWERS = [
    {},
    {"data": None},
    {"data": {"data": {"value": "x"}}},
    {"data": {"data": {"value": "x"}, "metadata": {"version": "1"}}},
    {"data": {"data": {"value": "x"}, "metadata": {"version": 9}}},
    {"data": {"value": "x"}},
    {"data": {"keys": "abc"}},
    {"data": {"keys": 5}},
    {"data": {"keys": [1, None, {}]}},
    {"data": {"versions": {"1": 5, "x": {}}, "current_version": 1}},
    {"data": {"versions": {"1": {"created_time": 5, "deletion_time": "soon"}}, "current_version": 1}},
    {"data": {"current_version": "1", "versions": []}},
    {"data": {"versions": {"1": {}}, "current_version": -1}},
]


@pytest.mark.parametrize("body", STRANGE_ANSWERS, ids=json.dumps)
@pytest.mark.parametrize("number", range(1, len(ACTS)))
def test_answers_that_kv_version_2_does_not_give_do_no_harm(
    vault: VaultServer, kept: VaultSecrets, body: object, number: int
) -> None:
    """KV version 1, or a stranger: a sentence, or nothing there; no value is made up and no error of the program."""
    kept.put("a", b"x")
    fake = vault.vault
    fake.instead = lambda _seen: (200, {}, json.dumps(body).encode())
    try:
        done = ACTS[number](kept)
    except (Misconfigured, Conflict):
        return
    assert done in (None, False, ())


def test_a_list_that_is_refused_is_no_empty_one(vault: VaultServer, kept: VaultSecrets) -> None:
    """Only a 404 says that there are no secrets."""
    vault.vault.instead = lambda _seen: (400, {}, json.dumps({"errors": ["unknown"]}).encode())
    with pytest.raises(Misconfigured, match="an answer \\(400\\)"):
        kept.list_versions()


@pytest.mark.parametrize("number", ["9" * 5000, "0", "01", "\u0664", "99999999999"])
def test_a_version_that_is_no_number_is_none(vault: VaultServer, kept: VaultSecrets, number: str) -> None:
    """However it looks."""
    facts = {"created_time": "", "deletion_time": "", "destroyed": False}
    body = {"data": {"keys": ["a"], "current_version": 1, "versions": {number: facts}}}
    vault.vault.instead = lambda _seen: (200, {}, json.dumps(body).encode())
    assert kept.list_versions() == ()


@pytest.mark.parametrize(("size", "is_kept"), [(0, False), (1, True), (MAX_SECRET_BYTES, True), (2**16 + 1, False)])
def test_a_value_that_could_not_be_put_is_not_got(
    vault: VaultServer, kept: VaultSecrets, size: int, is_kept: object
) -> None:
    """Others put what they like; the bounds are the same both ways."""
    kept.put("a", b"x")
    vault.vault.entries["payymo/a"].values[1] = {"value": "x" * size}
    if is_kept:
        assert kept.find("a", 1) is not None
        return
    with pytest.raises(Misconfigured, match="not 1 to 65536 bytes"):
        kept.find("a", 1)


def test_kv_version_1_is_told_apart_when_it_takes_a_value(vault: VaultServer, kept: VaultSecrets) -> None:
    """It answers a write with 204, and knows no versions."""
    vault.vault.instead = lambda seen: (
        (204, {}, b"") if seen.method == "POST" else (404, {}, json.dumps({"errors": []}).encode())
    )
    with pytest.raises(Misconfigured, match="is it version 1"):
        kept.put("a", b"x")


def test_without_an_address_the_setting_is_named(sqlite_house: House) -> None:
    """By the service, that knows the settings."""
    with pytest.raises(Misconfigured, match="PAYYMO_VAULT__ADDRESS is not set"):
        sqlite_house.services.secrets.list_versions(at="vault:secret/payymo")
    with pytest.raises(NotFound, match="vault:MOUNT"):
        sqlite_house.services.secrets.list_versions(at="vault:a//b")


def test_through_the_service_values_stay_out_of_the_log(vault: VaultServer, sqlite_database: Database) -> None:
    """One connection for all of it."""
    house = House(sqlite_database, vault={"address": vault.address, "token": ROOT})
    at = "vault:secret/payymo"
    secrets = house.services.secrets
    assert secrets.put("a", b"THE-VALUE", at=at, trace=Trace()) == 1
    assert secrets.get("a", at=at, trace=Trace()).value == b"THE-VALUE"
    secrets.retire("a", 1, at=at, trace=Trace())
    with pytest.raises(NotFound):
        secrets.get("a", at=at, trace=Trace())
    vault.vault.is_sealed = True
    with pytest.raises(Unavailable):
        secrets.get("a", at=at, trace=Trace())
    assert len({seen.port for seen in vault.vault.seen}) == 1
    log = house.log_lines.getvalue()
    assert "secret.put" in log
    for hidden in ("THE-VALUE", ROOT):
        assert hidden not in log
    house.close()


def test_the_commands_work_on_vault_and_say_why_they_don_t(vault: VaultServer, sqlite_database: Database) -> None:
    """Who sits there is no stranger, and has to know whether it is the token, the seal or the network."""
    reached = {"PAYYMO_VAULT__ADDRESS": vault.address, "PAYYMO_VAULT__TOKEN": ROOT}
    shell, at = Shell(sqlite_database, **reached), ("--at", "vault:secret/payymo")
    assert shell.json("secret", "put", "a", *at, stdin="VALUE")["version"] == 1
    assert shell.run("secret", "get", "a", *at).stdout == "VALUE"
    shell.json("secret", "retire", "a", "1", *at, "--yes")
    [row] = shell.json("secret", "list", *at)
    assert row["retired_at"] is not None
    vault.vault.is_sealed = True
    sealed = shell.run("secret", "get", "a", *at)
    assert (sealed.exit_code, "it is sealed" in sealed.stderr) == (1, True)
    with serving(FakeVault(lambda: START)) as gone:
        pass
    shell.environment["PAYYMO_VAULT__ADDRESS"] = gone.address
    away = shell.run("secret", "put", "a", *at, stdin="VALUE")
    assert (away.exit_code, "no answer" in away.stderr) == (1, True)
    for done in (sealed, away):
        assert ROOT not in done.output + done.stderr
        assert "VALUE" not in done.output + done.stderr


def test_the_access_is_what_the_settings_say() -> None:
    """An empty one names nothing."""
    with pytest.raises(Misconfigured, match="vault:secret is in Vault, and PAYYMO_VAULT__ADDRESS"):
        open_secrets("vault:secret", Access(), lambda: START)
