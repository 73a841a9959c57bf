"""The token of Vault: from the setting or from a file that somebody renews, sent where it must be, shown nowhere."""

from pathlib import Path

import pytest

from payymo.clock import system_clock
from payymo.errors import Misconfigured, PayymoError, Unavailable
from payymo.secrets.vault import TransitWrapper
from payymo.secrets.vault_http import connect
from payymo.secrets.vault_secrets import open_secrets
from tests.support.vault import ROOT, Seen
from tests.support.vault_server import VALUE, VaultServer, access_to, ask, everything_of


def test_a_token_in_a_file_is_read_anew_for_each_request(vault: VaultServer, tmp_path: Path) -> None:
    """Vault Agent writes another one, and the service goes on; with the mode that it gives its file."""
    path = tmp_path / "token"
    path.write_text(ROOT + "\n")
    path.chmod(0o640)
    access = access_to(vault.address, f"file:{path}")
    shared = connect(access, "x")
    ask(access, shared)
    vault.vault.tokens = {"hvs.next": vault.vault.tokens[ROOT]}
    path.write_text("hvs.next")
    ask(access, shared)
    assert [seen.headers["X-Vault-Token"] for seen in vault.vault.seen] == [ROOT] * 2 + ["hvs.next"] * 2


def test_a_token_that_ends_between_reading_and_asking_is_asked_for_once_more(
    vault: VaultServer, tmp_path: Path
) -> None:
    """After a 403, which says that nothing was done; only with another token, and only once."""
    path = tmp_path / "token"
    path.write_text(ROOT)
    path.chmod(0o600)
    fake, access = vault.vault, access_to(vault.address, f"file:{path}")

    def renew(_seen: Seen) -> None:
        if ROOT in fake.tokens:
            fake.tokens = {"hvs.next": fake.tokens[ROOT]}
            path.write_text("hvs.next")

    fake.before = renew
    assert ask(access) == VALUE.encode()
    assert [seen.headers["X-Vault-Token"] for seen in fake.seen] == [ROOT, "hvs.next", "hvs.next"]
    fake.tokens, fake.seen = {}, []
    fake.before = lambda _seen: path.write_text(f"hvs.{len(fake.seen)}")
    with pytest.raises(Unavailable):
        ask(access)
    assert len(fake.seen) == 2
    fake.seen, fake.before = [], lambda _seen: None
    with pytest.raises(Unavailable):
        ask(access)
    assert len(fake.seen) == 1


@pytest.mark.parametrize("token", ["", " ", "hvs.a b", "hvs.a\r\nX-Evil: 1", "hvs.ä", "x" * 5000])
@pytest.mark.parametrize("kept", ["setting", "file"])
def test_what_is_no_token_is_not_sent_and_not_shown(vault: VaultServer, tmp_path: Path, token: str, kept: str) -> None:
    """It would be a header, and the library shows those it refuses."""
    path = tmp_path / "token"
    path.write_text(token, newline="")
    path.chmod(0o600)
    access = access_to(vault.address, f"file:{path}" if kept == "file" else token)
    secrets = open_secrets("vault:secret", access, system_clock)
    with pytest.raises(Misconfigured, match="not a token of Vault") as refused:
        secrets.find("a", None)
    assert not token.strip() or token.strip() not in everything_of(refused.value)
    assert vault.vault.seen == []


def test_a_token_that_others_can_read_is_refused(vault: VaultServer, tmp_path: Path) -> None:
    """With the remedy; for data keys as for secrets."""
    path = tmp_path / "token"
    path.write_text(ROOT)
    path.chmod(0o644)
    access = access_to(vault.address, f"file:{path}")
    with pytest.raises(Misconfigured, match="chmod 600"):
        open_secrets("vault:secret", access, system_clock).list_versions()
    with pytest.raises(Unavailable, check=lambda error: "chmod 600" in (error.private or "")):
        ask(access)
    path.unlink()
    with pytest.raises(PayymoError):
        ask(access)
    assert vault.vault.seen == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("", "PAYYMO_VAULT__TOKEN: write file:/path"), ("/", "/: not a file"), ("/dev/null", "/dev/null: not a file")],
)
def test_what_is_no_file_has_no_token(vault: VaultServer, path: str, sentence: str) -> None:
    """Nobody is told to change the mode of a device, or of a folder."""
    access = access_to(vault.address, f"file:{path}")
    with pytest.raises(Misconfigured, match=sentence):
        open_secrets("vault:secret", access, system_clock).list_versions()


def test_nothing_shows_the_token(vault: VaultServer) -> None:
    """Not the access, not the connection, not an answer."""
    access = access_to(vault.address)
    shared = connect(access, "x")
    ask(access, shared)
    answer = shared.call("x", lambda client: client.secrets.transit.read_key("payymo"))
    for shown in (access, shared, answer, TransitWrapper(shared, "transit", "payymo"), shared._token):
        assert ROOT not in f"{shown} {shown!r}"
    assert "aes256" not in repr(answer)
