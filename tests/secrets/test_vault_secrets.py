"""Named secrets in Vault: how they lie there, whose versions they have, and what its other users do to them."""

import base64
import json
from typing import Any

import pytest

from payymo.errors import Conflict, Misconfigured, NotFound, Unavailable
from payymo.secrets.model import MAX_VERSION, Secret, SecretVersion
from payymo.secrets.vault_secrets import VaultSecrets, open_secrets
from tests.support.house import START
from tests.support.vault import FakeVault, Seen
from tests.support.vault_server import VaultServer, access_to

NOW = int(START)


def put_by_others(fake: FakeVault, path: str, **fields: Any) -> None:
    """`vault kv put secret/PATH …`."""
    with fake.lock:
        fake._write(path, {"data": fields})


def value_of(found: Secret | None) -> tuple[int, bytes] | None:
    return None if found is None else (found.version, found.value)


def facts_of(kept: VaultSecrets) -> list[tuple[str, int, int | None, int | None]]:
    return [(one.name, one.version, one.created_at, one.retired_at) for one in kept.list_versions()]


# ── how they lie there ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["secret", "ümlaut\n", "\x00\x01", "\U0001f511", '{"a": "b"}', "\ufeff", "\u2028"])
def test_text_lies_there_as_it_is(vault: VaultServer, kept: VaultSecrets, text: str) -> None:
    """`vault kv get -field=value` shows it."""
    kept.put("a", text.encode())
    assert vault.vault.entries["payymo/a"].values == {1: {"value": text}}
    assert value_of(kept.find("a", None)) == (1, text.encode())


@pytest.mark.parametrize("value", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", bytes(range(256))])
def test_what_is_no_text_lies_there_in_base64(vault: VaultServer, kept: VaultSecrets, value: bytes) -> None:
    """In a field of its own, so that nobody takes one for the other."""
    kept.put("a", value)
    assert vault.vault.entries["payymo/a"].values == {1: {"value_base64": base64.b64encode(value).decode()}}
    assert value_of(kept.find("a", None)) == (1, value)


def test_what_others_put_is_found(vault: VaultServer, kept: VaultSecrets) -> None:
    """By hand, with more fields; and then once more from here."""
    put_by_others(vault.vault, "payymo/smtp", value="by hand", user="mailer")
    assert value_of(kept.find("smtp", None)) == (1, b"by hand")
    assert kept.put("smtp", b"from here") == 2
    assert facts_of(kept) == [("smtp", 1, NOW, None), ("smtp", 2, NOW, None)]


STRANGE: list[dict[str, Any]] = [
    {},
    {"password": "THE-VALUE"},
    {"value": 42},
    {"value": None},
    {"value": ["THE-VALUE"]},
    {"value": "THE-VALUE", "value_base64": "eA=="},
    {"value_base64": "THE-VALUE!"},
    {"value_base64": 1},
    {"value": "\ud800"},
]


@pytest.mark.parametrize("fields", STRANGE, ids=json.dumps)
def test_what_has_no_value_is_refused_and_not_shown(
    vault: VaultServer, kept: VaultSecrets, fields: dict[str, Any]
) -> None:
    """With the path, and the field that is needed; nothing is guessed."""
    put_by_others(vault.vault, "payymo/a", **fields)
    with pytest.raises(Misconfigured, match=r"secret/data/payymo/a: needs one field, value or value_base64") as refused:
        kept.find("a", None)
    assert "THE-VALUE" not in f"{refused.value!r} {refused.value.__context__!r}"


def test_only_secrets_right_below_the_prefix_are_listed(vault: VaultServer, kept: VaultSecrets) -> None:
    """Not those of a neighbour whose prefix begins alike, not folders, and no name that is none elsewhere."""
    for path in ("payymo/b", "payymo/a", "payymo/folder/x", "payymo2/x", "x", "payymo/NOT A NAME", "payymo/a.v2"):
        put_by_others(vault.vault, path, value="x")
    assert [one.name for one in kept.list_versions()] == ["a", "b"]
    access = access_to(vault.address)
    for uri, names in (("vault:secret", ["x"]), ("vault:secret/payymo/folder", ["x"]), ("vault:secret/none", [])):
        assert [one.name for one in open_secrets(uri, access, vault.vault.clock).list_versions()] == names
    assert kept.find("x", None) is None


@pytest.mark.parametrize(
    "rest", ["", "/", "/a", "a//b", "a/b/", "a/../b", "a/.", "..", "a b", "a?list=true", "a#", "a%2fb"]
)
def test_a_path_that_others_could_read_otherwise_is_refused(vault: VaultServer, rest: str) -> None:
    """Nothing that a proxy or a server between would normalise."""
    with pytest.raises(NotFound, match="vault:MOUNT"):
        open_secrets(f"vault:{rest}", access_to(vault.address), vault.vault.clock)


# ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_that_put_at_the_same_moment_one_is_told(vault: VaultServer, kept: VaultSecrets) -> None:
    """Between looking and writing: the other's version stays the only one, and keeps its number."""
    fake, others = vault.vault, [0]

    def overtake(seen: Seen) -> None:
        if seen.method == "POST" and not others[0]:
            others[0] = 1
            put_by_others(fake, "payymo/a", value="theirs")

    for before in (0, 1):  # the first version of all, and a later one
        fake.before, others[0] = overtake, 0
        with pytest.raises(Conflict, match="at the same moment"):
            kept.put("a", b"mine")
        fake.before = lambda _seen: None
        assert value_of(kept.find("a", None)) == (before + 1, b"theirs")
    assert kept.put("a", b"mine") == 3


def test_a_put_whose_answer_is_lost_is_not_sent_again(vault: VaultServer, kept: VaultSecrets) -> None:
    """It may have happened: who asked is told that nobody knows, and there is one version at most."""
    fake = vault.vault

    def lose_the_answer(seen: Seen) -> tuple[int, dict[str, str], bytes] | None:
        if seen.method == "POST":
            fake._write("payymo/a", seen.body)
            return 502, {}, b""
        return None

    fake.instead = lose_the_answer
    with pytest.raises(Unavailable):
        kept.put("a", b"x")
    assert [seen.method for seen in fake.seen] == ["GET", "POST"]
    assert [one.version for one in kept.list_versions()] == [1]


def test_what_others_deleted_is_retired_since_then(vault: VaultServer, kept: VaultSecrets) -> None:
    """Also while it could be undeleted; the version before it is in use, and comes back when they undelete it."""
    fake = vault.vault
    for value in (b"1", b"2", b"3"):
        kept.put("a", value)
    fake.clock.advance(100)  # type: ignore[attr-defined]
    fake._end("delete", "payymo/a", [3])
    assert kept.find("a", 3) is None
    assert value_of(kept.find("a", None)) == (2, b"2")
    assert facts_of(kept)[2] == ("a", 3, NOW, NOW + 100)
    fake.entries["payymo/a"].facts[3]["deletion_time"] = ""
    assert value_of(kept.find("a", None)) == (3, b"3")
    assert kept.put("a", b"4") == 4


@pytest.mark.parametrize(("later", "retired_at"), [(-1, None), (0, NOW + 60), (1, NOW + 60)])
def test_what_will_be_deleted_is_in_use_until_then(
    vault: VaultServer, kept: VaultSecrets, later: int, retired_at: int | None
) -> None:
    """`delete_version_after` writes the time beforehand."""
    kept.put("a", b"1")
    fake = vault.vault
    fake.clock.advance(60)  # type: ignore[attr-defined]
    fake.entries["payymo/a"].facts[1]["deletion_time"] = fake.now()
    fake.clock.advance(later)  # type: ignore[attr-defined]
    assert (kept.find("a", None) is None) is (retired_at is not None)
    assert facts_of(kept) == [("a", 1, NOW, retired_at)]


def test_what_others_destroyed_is_retired_though_vault_keeps_no_time(vault: VaultServer, kept: VaultSecrets) -> None:
    """It must not look alive."""
    kept.put("a", b"1")
    vault.vault._end("destroy", "payymo/a", [1])
    assert facts_of(kept) == [("a", 1, NOW, NOW)]
    assert kept.find("a", None) is None
    assert not kept.retire("a", 1)


def test_a_retired_version_is_destroyed_and_has_its_time(vault: VaultServer, kept: VaultSecrets) -> None:
    """Not just marked: nobody can undelete it."""
    kept.put("a", b"1")
    vault.vault.clock.advance(7)  # type: ignore[attr-defined]
    assert kept.retire("a", 1)
    entry = vault.vault.entries["payymo/a"]
    assert entry.values == {}
    assert entry.facts[1]["destroyed"]
    assert facts_of(kept) == [("a", 1, NOW, NOW + 7)]


def test_a_retirement_that_stopped_half_way_is_finished_by_the_next(vault: VaultServer, kept: VaultSecrets) -> None:
    """Between the mark and the destruction it is retired already; who finishes it is told so, and it is logged."""
    kept.put("a", b"1")
    fake = vault.vault
    fake.instead = lambda seen: (503, {}, b"") if seen.path.startswith("secret/destroy/") else None
    with pytest.raises(Unavailable):
        kept.retire("a", 1)
    assert kept.find("a", None) is None
    assert fake.entries["payymo/a"].values != {}
    fake.instead = lambda _seen: None
    assert kept.retire("a", 1)
    assert fake.entries["payymo/a"].values == {}
    assert not kept.retire("a", 1)


def test_versions_that_vault_has_forgotten_are_not_there(vault: VaultServer, kept: VaultSecrets) -> None:
    """`max_versions`: the oldest go, numbers go on."""
    vault.vault.max_versions = 2
    assert [kept.put("a", b"%d" % number) for number in range(1, 5)] == [1, 2, 3, 4]
    assert [one.version for one in kept.list_versions()] == [3, 4]
    assert kept.find("a", 2) is None
    assert not kept.retire("a", 2)


def test_a_version_that_is_retired_while_it_is_looked_for_gives_way_to_the_one_before(
    vault: VaultServer, kept: VaultSecrets
) -> None:
    """Two reads are not one step: the newest that is there is found."""
    for value in (b"1", b"2", b"3"):
        kept.put("a", value)
    fake = vault.vault
    fake._end("delete", "payymo/a", [3])

    def retire(seen: Seen) -> None:
        if seen.query.get("version") == "2":
            fake._end("delete", "payymo/a", [2])

    fake.before = retire
    assert value_of(kept.find("a", None)) == (1, b"1")


@pytest.mark.parametrize("version", [0, -1, MAX_VERSION + 1])
def test_a_number_that_is_no_version_is_not_asked_for(vault: VaultServer, kept: VaultSecrets, version: int) -> None:
    """Vault takes 0 for the newest."""
    kept.put("a", b"1")
    vault.vault.seen.clear()
    assert kept.find("a", version) is None
    assert vault.vault.seen == []


def test_a_secret_that_is_gone_while_it_is_listed_is_left_out(vault: VaultServer, kept: VaultSecrets) -> None:
    """`vault kv metadata delete` between two requests."""
    kept.put("a", b"1")
    kept.put("b", b"1")
    fake = vault.vault
    fake.before = lambda seen: fake.entries.pop("payymo/a", None) if seen.path.endswith("/a") else None
    assert kept.list_versions() == (SecretVersion("b", 1, NOW),)
