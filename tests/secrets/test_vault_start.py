"""Starting on a master key that Vault keeps: what is refused, in which words, and that nothing is written then."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.compose import compose
from payymo.errors import Misconfigured
from tests.support.house import MASTER_KEY, Database, House, settings_for
from tests.support.vault import FakeVault
from tests.support.vault_house import IN_VAULT, assert_refused, opened, reached, rotate, started
from tests.support.vault_server import VaultServer, serving

PRODUCTION = {"env": "production", "issuer": "https://auth.example.com", "limits": {}, "lockout": {}}


def seal(fake: FakeVault) -> None:
    fake.is_sealed = True


def hang_up(fake: FakeVault) -> None:
    fake.is_down = True


def forget_tokens(fake: FakeVault) -> None:
    fake.tokens = {}


def answer(status: int, content: bytes) -> Callable[[FakeVault], None]:
    def change(fake: FakeVault) -> None:
        fake.instead = lambda _seen: (status, {}, content)

    return change


FAULTS: dict[str, tuple[Callable[[FakeVault], None], str]] = {
    "sealed": (seal, "PAYYMO_MASTER_KEY: Vault at .*: read on transit/keys/payymo: it is sealed"),
    "cut": (hang_up, "PAYYMO_MASTER_KEY: Vault at .*: read on transit/keys/payymo: no answer"),
    "wrong token": (forget_tokens, "read on transit/keys/payymo: refused: the token is not valid"),
    "a page": (answer(200, b"<html>"), "is it Vault that answers"),
    "internal error": (answer(500, b"{}"), "it answers with 500"),
    "too many": (answer(429, b"{}"), "takes no more requests"),
    "redirect": (answer(307, b""), "sends us elsewhere"),
    "strange facts": (answer(200, b'{"data": {"type": 1}}'), "is not of the type aes256-gcm96"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_vault_that_does_not_work_starts_nothing_and_writes_nothing(
    moved: Database, vault: VaultServer, fault: str
) -> None:
    """Invariant 16; what is wrong, and with which setting."""
    change, sentence = FAULTS[fault]
    change(vault.vault)
    assert_refused(moved, vault, sentence)


def test_a_vault_that_is_not_there_starts_nothing(moved: Database) -> None:
    """Nobody listens."""
    with serving(FakeVault(system_clock)) as gone:
        pass
    assert_refused(moved, gone, "PAYYMO_MASTER_KEY: Vault at http://127.0.0.1:[0-9]+: .*no answer")
    assert_refused(moved, gone, "PAYYMO_VAULT__ADDRESS is not set", vault={})
    assert_refused(moved, gone, "PAYYMO_VAULT__TOKEN is not", vault={"address": gone.address})


KEYS = {
    "another type": ({"type": "rsa-4096"}, "is not of the type aes256-gcm96"),
    "half as long": ({"type": "aes128-gcm96"}, "is not of the type aes256-gcm96"),
    "derived": ({"derived": True}, "without derivation"),
    "exportable": ({"exportable": True}, "can be exported"),
    "backup": ({"allow_plaintext_backup": True}, "can be backed up in plain"),
    "deletable": ({"deletion_allowed": True}, "vault write transit/keys/payymo/config deletion_allowed=false"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_an_unfit_key_is_not_put_to_use(sqlite_database: Database, vault: VaultServer, kind: str) -> None:
    """Neither as the next one, nor as the first one of a new database."""
    facts, sentence = KEYS[kind]
    vault.vault.make_key(**facts)
    assert_refused(sqlite_database, vault, sentence, master_key=MASTER_KEY, next_master_key=IN_VAULT)
    owner = sqlite_database.owner()
    with owner.begin() as connection:
        for table in ("signing_keys", "service_data_keys", "data_keys", "master_keys"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    owner.dispose()
    assert_refused(sqlite_database, vault, sentence)
    vault.vault.make_key()
    started(sqlite_database, vault).close()


@pytest.mark.parametrize("kind", ["exportable", "backup", "deletable"])
def test_a_key_in_use_is_not_locked_out_for_what_somebody_set(moved: Database, vault: VaultServer, kind: str) -> None:
    """Two of these flags can't be taken back: nothing would ever open again."""
    vault.vault.keys["payymo"].facts.update(KEYS[kind][0])
    house = started(moved, vault, next_master_key=MASTER_KEY)
    rotate(house)
    house.close()
    House(moved, **reached(vault)).close()


def test_a_key_that_is_not_there_is_not_made(moved: Database, vault: VaultServer) -> None:
    """Another one would occupy its name. Who asks Vault to encrypt under a key that is missing gets a new one."""
    del vault.vault.keys["payymo"]
    assert_refused(moved, vault, "is not there. Has anything been sealed under it, restore it from Vault's backup")
    assert vault.vault.keys == {}


@pytest.mark.parametrize("verb", ["keys", "encrypt", "decrypt"])
def test_a_permission_that_is_missing_is_named_before_anything_depends_on_it(
    moved: Database, vault: VaultServer, verb: str
) -> None:
    """All three are tried at the start."""
    policy = {
        "transit/keys/payymo": {"read"},
        "transit/encrypt/payymo": {"update"},
        "transit/decrypt/payymo": {"update"},
    }
    vault.vault.tokens["hvs.service"] = policy
    started(moved, vault, **reached(vault, "hvs.service")).close()
    del policy[f"transit/{verb}/payymo"]
    assert_refused(moved, vault, f"on transit/{verb}/payymo: refused", **reached(vault, "hvs.service"))


def test_a_vault_that_binds_nothing_is_refused(moved: Database, vault: VaultServer) -> None:
    """Before 1.13 `associated_data` was left out of account without a word: data keys could change places."""
    vault.vault.knows_associated_data = False
    assert_refused(moved, vault, "ignores associated_data")


URIS = [
    "vault:",
    "vault:transit",
    "vault:transit/",
    "vault:/payymo",
    "vault:transit//payymo",
    "vault:transit/../payymo",
]


@pytest.mark.parametrize("uri", [*URIS, "vault:transit/pay ymo", "vault:transit/payymo?x", "vault:./payymo"])
def test_a_name_that_others_could_read_otherwise_is_refused(vault: VaultServer, uri: str) -> None:
    """With the form."""
    with pytest.raises(Misconfigured, match="HERE: write vault:MOUNT/KEYNAME"):
        opened(vault, uri)
    assert vault.vault.seen == []


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [
        ("http://vault.example.com:8200", True),
        ("http://10.0.0.7:8200", True),
        ("http://localhost.example.com", True),
        ("http://[2001:db8::1]:8200", True),
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://localhost:1", False),
        ("https://vault.example.com:8200", False),
        ("https://127.0.0.1:1", False),
    ],
)
def test_production_sends_nothing_in_plain_over_a_network(
    sqlite_database: Database, address: str, is_refused: object
) -> None:
    """Tokens and data keys would go along; an agent on the same machine is another matter."""
    with pytest.raises(Misconfigured) as refused:
        compose(settings_for(sqlite_database, debug=True, vault={"address": address, "token": "x"}, **PRODUCTION))
    assert any("PAYYMO_VAULT__ADDRESS is plain http" in reason for reason in refused.value.reasons) is is_refused


def test_production_starts_with_a_key_in_vault(moved: Database, vault: VaultServer) -> None:
    """Every reason is asked for, and there is none."""
    compose(settings_for(moved, **({"master_key": IN_VAULT} | reached(vault) | PRODUCTION))).close()
