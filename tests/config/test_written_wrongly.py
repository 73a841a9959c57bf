"""Settings as people write them by mistake: what is said names the setting or the file, and how to write it."""

import os
from pathlib import Path

import pytest

from payymo.cli.serve import _forget_environment
from payymo.config import read_settings
from payymo.errors import Misconfigured
from tests.config.test_settings import put_secret, set_all

NO_LIST = 'write a JSON list, such as ["10.0.0.0/8"]'
NO_OBJECT = 'write a JSON object, such as {"name": "value"}'


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        ("PAYYMO_TRUSTED_PROXIES", '{"a": 1}', NO_LIST),
        ("PAYYMO_FEED__OPEN_TO", "10.0.0.0/8", NO_LIST),
        ("PAYYMO_AUDIT__CHECKPOINTS_TO", "file:/canary", NO_LIST),
        ("PAYYMO_TRACING__HEADERS", "canary", NO_OBJECT),
        ("PAYYMO_TRACING__HEADERS", '"canary"', NO_OBJECT),
    ],
)
def test_a_list_that_is_none_is_named_itself(monkeypatch: pytest.MonkeyPatch, name: str, value: str, form: str) -> None:
    """Also within a group: not the group, which is written as it should be."""
    set_all(monkeypatch, **{name: value})
    with pytest.raises(Misconfigured) as refused:
        read_settings()
    assert f"{name}: {form}" in refused.value.reasons
    assert "canary" not in str(refused.value.reasons)


def test_small_letters_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """They set something, so a misspelt one is refused, and what was a secret is not left to requests."""
    set_all(monkeypatch, payymo_master_key="canary")
    assert read_settings().master_key is not None
    monkeypatch.setenv("payymo_mastr_key", "canary")
    with pytest.raises(Misconfigured, match="payymo_mastr_key is not a setting"):
        read_settings()
    _forget_environment()
    assert "canary" not in os.environ.values()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("payymo_mail__password", b"\xef\xbb\xbfcanary", "payymo_mail__password: begins with a byte order mark"),
        ("payymo_mail__password", b"canary\xff", "payymo_mail__password: not a text in UTF-8"),
        ("keystore.p12", b"canary\xff", "keystore.p12: not a text in UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """A mark that editors add would be a part of the password."""
    put_secret(tmp_path / name, "")
    (tmp_path / name).write_bytes(content)
    set_all(monkeypatch, PAYYMO_SECRETS_DIR=str(tmp_path))
    with pytest.raises(Misconfigured, match=reason) as refused:
        read_settings()
    assert "canary" not in str(refused.value.reasons)


def test_no_folder_is_not_the_one_that_one_is_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever put a file there would have decided what the settings are."""
    put_secret(tmp_path / "payymo_issuer", "https://elsewhere.example")
    monkeypatch.chdir(tmp_path)
    set_all(monkeypatch, PAYYMO_SECRETS_DIR="")
    with pytest.raises(Misconfigured, match="PAYYMO_SECRETS_DIR: is empty"):
        read_settings()
