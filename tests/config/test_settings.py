"""Settings: typed, complete, refused when misspelt, refused in production when dangerous."""

from pathlib import Path

import pytest

from payymo.config import describe, read_settings
from payymo.errors import Misconfigured
from payymo.production import reasons_against_production, warnings_about

SOUND = {
    "PAYYMO_AUDIT__CHECKPOINTS_TO": '["file:/var/lib/payymo/checkpoints"]',
    "PAYYMO_ENV": "production",
    "PAYYMO_ISSUER": "https://auth.example.com",
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAYYMO_DATA", "PAYYMO_SERVER__PORT"):
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYYMO_ISUER", "https://auth.example.com"),
        ("PAYYMO_LIMITS__LOGINS", "1/minute"),
        ("PAYYMO_DATABASE__", "x"),
        ("PAYYMO_TOKENS__ACCESS__TTL", "5"),
    ],
)
def test_a_misspelt_name_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A setting that would silently be without effect stops the start."""
    set_all(monkeypatch, **{name: value})
    with pytest.raises(Misconfigured) as refused:
        read_settings()
    assert any(name.startswith(reason.split(":")[0].split()[0]) for reason in refused.value.reasons)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYYMO_ENV", "prod"),
        ("PAYYMO_ISSUER", "auth.example.com"),
        ("PAYYMO_ISSUER", "https://auth.example.com/?x=1"),
        ("PAYYMO_ISSUER", "https://auth.example.com/?"),
        ("PAYYMO_ISSUER", " https://auth.example.com"),
        ("PAYYMO_ISSUER", "https://auth.example.com\n"),
        ("PAYYMO_ISSUER", "https://auth.example.com:99999"),
        ("PAYYMO_ISSUER", "https://me@auth.example.com"),
        ("PAYYMO_SERVER__PORT", "70000"),
        ("PAYYMO_LIMITS__LOGIN", "many"),
        ("PAYYMO_LIMITS__FALLBACK_PERCENT", "0"),
        ("PAYYMO_TOKENS__ALGORITHM", "HS256"),
        ("PAYYMO_TOKENS__ALGORITHM", "none"),
        ("PAYYMO_TOKENS__ACCESS_TTL_SECONDS", "700000"),
        ("PAYYMO_TOKENS__GRACE_SECONDS", "61"),
        ("PAYYMO_REFRESH_AUDIENCE", "payymo-api"),
        ("PAYYMO_TRUSTED_PROXIES", '["everybody"]'),
        ("PAYYMO_FEED__OPEN_TO", '["everybody"]'),
        ("PAYYMO_FEED__OPEN_TO", '["10.0.0.1/8"]'),
        ("PAYYMO_LIMITS__SERVICE", "many"),
        ("PAYYMO_LIMITS__SERVICE", "9999999999/minute"),
        ("PAYYMO_LIMITS__SERVICE", "10/100 year"),
        ("PAYYMO_REGISTRATION__VERIFY_EMAIL", "required"),
        ("PAYYMO_VAULT__ADDRESS", "vault.example.com:8200"),
        ("PAYYMO_VAULT__ADDRESS", "https://vault.example.com:8200/v1"),
        ("PAYYMO_VAULT__ADDRESS", "https://user:password@vault.example.com"),
        ("PAYYMO_VAULT__NAMESPACE", "a\r\nX-Vault-Token: b"),
        ("PAYYMO_VAULT__NAMESPACE", ".."),
        ("PAYYMO_VAULT__NAMESPACE", "a/../b"),
        ("PAYYMO_VAULT__NAMESPACE", "a//b"),
        ("PAYYMO_VAULT__NAMESPACE", "a\n"),
        ("PAYYMO_VAULT__TIMEOUT_SECONDS", "0"),
        ("PAYYMO_VAULT__TIMEOUT_SECONDS", "5"),
        ("PAYYMO_SECRETS_DIR", "/nowhere/at/all"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Nothing is coerced or ignored; a mixed allow-list of algorithms can't even be written (CVE-2026-48526)."""
    set_all(monkeypatch, **{name: value})
    with pytest.raises(Misconfigured):
        read_settings()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://[::1",
            "http://[zz]",
            "http://[]",
            "http://[1.2.3.4]",
            "http://*",
            "http://-a",
            "http://a:",
            "http://",
        ),
        *(
            "https://a:99999",
            "https://a:0",
            "https://a:x",
            "https://a/",
            "https://a\n",
            "https://a b",
            "https://a@b",
            "",
        ),
        *("ftp://a", "https://a%2fb", "https://a\\b"),
    ],
)
def test_an_address_of_vault_is_a_host_and_a_port(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """With the form in words; also in production, where more is asked about it."""
    set_all(monkeypatch, PAYYMO_VAULT__ADDRESS=address, **SOUND)
    with pytest.raises(Misconfigured, match="PAYYMO_VAULT__ADDRESS: write https://HOST or https://HOST:PORT"):
        read_settings()


@pytest.mark.parametrize(
    "address", ["https://a", "https://vault_1.example.com:8200", "http://[::1]:1", "https://[2001:db8::1]"]
)
def test_an_address_of_vault_can_be_any_host(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """By name and by number, with and without a port; and a namespace may be several deep."""
    set_all(monkeypatch, PAYYMO_VAULT__ADDRESS=address, PAYYMO_VAULT__NAMESPACE="a/..b/c./")
    reasons_against_production(read_settings(env="production"))
    assert read_settings().vault.address == address


def test_every_mistake_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator repairs a configuration in one round."""
    set_all(monkeypatch, PAYYMO_NONSENSE="1", PAYYMO_ENV="prod", PAYYMO_SERVER__PORT="x")
    with pytest.raises(Misconfigured) as refused:
        read_settings()
    assert len(refused.value.reasons) == 3


def test_a_refusal_never_repeats_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 17: a secret in the wrong place does not reach the terminal."""
    set_all(monkeypatch, PAYYMO_TOKENS__ALGORITHM="canary-secret", PAYYMO_DATABASE__POOL_SIZE="canary-secret")
    with pytest.raises(Misconfigured) as refused:
        read_settings()
    assert "canary-secret" not in str(refused.value)


def test_secret_files_are_read_and_unknown_ones_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of secrets works like variables, nested names too."""
    put_secret(tmp_path / "payymo_master_key", "from-a-file\n")
    put_secret(tmp_path / "payymo_database__url", "postgresql://db/x")
    set_all(monkeypatch, PAYYMO_SECRETS_DIR=str(tmp_path))
    settings = read_settings()
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == "from-a-file"
    assert settings.database_url == "postgresql+psycopg://db/x"
    put_secret(tmp_path / "payymo_mastr_key", "x")
    with pytest.raises(Misconfigured, match="payymo_mastr_key"):
        read_settings()


@pytest.mark.parametrize(
    ("of_file", "of_folder", "remedy"),
    [
        (0o604, 0o700, "chmod 600"),
        (0o620, 0o700, "chmod 600"),
        (0o600, 0o777, "chmod 700"),
        (0o600, 0o720, "chmod 700"),
    ],
)
def test_secret_files_that_others_can_read_or_put_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of_file: int, of_folder: int, remedy: str
) -> None:
    """Invariant 16: with the remedy, and without the value. The group of a container's files may read them."""
    path = tmp_path / "payymo_master_key"
    put_secret(path, "canary-secret")
    set_all(monkeypatch, PAYYMO_SECRETS_DIR=str(tmp_path))
    path.chmod(0o440)
    assert read_settings().master_key is not None
    path.chmod(of_file)
    tmp_path.chmod(of_folder)
    with pytest.raises(Misconfigured, match=remedy) as refused:
        read_settings()
    assert "canary-secret" not in str(refused.value)


def put_secret(path: Path, text: str) -> None:
    """A file that its owner alone may read."""
    path.write_text(text)
    path.chmod(0o600)


def test_the_description_masks_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 17: `payymo config` can be pasted into a ticket."""
    set_all(
        monkeypatch,
        PAYYMO_MASTER_KEY="canary-1",
        PAYYMO_DATABASE__URL="postgresql://u:canary-2@db/x",
        PAYYMO_REDIS__URL="redis://:canary-3@cache/0",
    )
    settings = read_settings()
    assert "canary" not in str(describe(settings)) + repr(settings)
    assert describe(settings)["PAYYMO_LIMITS__LOGIN"] == "10/minute"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"PAYYMO_ISSUER": "http://auth.example.com"}, "plain http"),
        ({"PAYYMO_DEBUG": "true"}, "PAYYMO_DEBUG"),
        ({"PAYYMO_LIMITS__ENABLED": "false"}, "PAYYMO_LIMITS__ENABLED"),
        ({"PAYYMO_LOCKOUT__ENABLED": "false"}, "PAYYMO_LOCKOUT__ENABLED"),
        ({"PAYYMO_LIMITS__STORE": "memory", "PAYYMO_SERVER__WORKERS": "2"}, "PAYYMO_LIMITS__STORE"),
        ({"PAYYMO_LIMITS__STORE": "memory", "PAYYMO_SERVER__NODES": "2"}, "PAYYMO_LIMITS__STORE"),
        ({"PAYYMO_LIMITS__STORE": "redis"}, "PAYYMO_REDIS__URL"),
        ({"PAYYMO_SERVER__NODES": "2"}, "SQLite"),
        ({"PAYYMO_FEED__OPEN_TO": '["0.0.0.0/0"]'}, "PAYYMO_FEED__OPEN_TO"),
        ({"PAYYMO_FEED__OPEN_TO": '["10.0.0.0/8", "::/0"]'}, "PAYYMO_FEED__OPEN_TO"),
        ({"PAYYMO_FEED__OPEN_TO": '["0.0.0.0/1", "128.0.0.0/1"]'}, "PAYYMO_FEED__OPEN_TO"),
    ],
)
def test_production_refuses(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], reason: str) -> None:
    """Each dangerous setting is a reason of its own, and only in production."""
    set_all(monkeypatch, **SOUND)
    assert reasons_against_production(read_settings()) == ()
    set_all(monkeypatch, **values)
    assert any(reason in found for found in reasons_against_production(read_settings()))


def test_the_feed_is_open_to_the_loopback_in_development_and_to_nobody_in_production(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless the operator says otherwise; networks of one's own can be opened in production, too."""
    assert [str(network) for network in read_settings().feed_open_to] == ["127.0.0.0/8", "::1/128"]
    set_all(monkeypatch, **SOUND)
    assert read_settings().feed_open_to == ()
    set_all(monkeypatch, PAYYMO_FEED__OPEN_TO='["10.0.0.0/8", "fc00::/7", "192.0.2.7"]')
    assert [str(network) for network in read_settings().feed_open_to] == ["10.0.0.0/8", "fc00::/7", "192.0.2.7/32"]
    assert reasons_against_production(read_settings()) == ()
    set_all(monkeypatch, PAYYMO_ENV="development", PAYYMO_FEED__OPEN_TO="[]")
    assert read_settings().feed_open_to == ()


def test_production_is_warned_about_lifted_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lifting one class is allowed, and said."""
    set_all(monkeypatch, **SOUND, PAYYMO_LIMITS__LOGIN="")
    [warning] = warnings_about(read_settings())
    assert "PAYYMO_LIMITS__LOGIN" in warning


def test_production_is_warned_about_a_log_that_is_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to the database could cut the log off, and nobody would have anything to hold it to."""
    set_all(monkeypatch, **(SOUND | {"PAYYMO_AUDIT__CHECKPOINTS_TO": "[]"}))
    [warning] = warnings_about(read_settings())
    assert "PAYYMO_AUDIT__CHECKPOINTS_TO" in warning


@pytest.mark.parametrize("bind", ["9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "::1:9464", "[::1]"])
def test_who_may_reach_the_metrics_has_to_be_said(monkeypatch: pytest.MonkeyPatch, bind: str) -> None:
    """An address and a port: what leaves one of them open is refused."""
    set_all(monkeypatch, PAYYMO_METRICS__BIND=bind)
    with pytest.raises(Misconfigured) as refused:
        read_settings()
    assert "PAYYMO_METRICS__BIND" in refused.value.reasons[0]


@pytest.mark.parametrize(
    ("bind", "address", "is_open"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464), False),
        ("[::1]:9464", ("::1", 9464), False),
        ("10.0.0.11:9464", ("10.0.0.11", 9464), True),
    ],
)
def test_production_is_warned_about_metrics_that_others_can_reach(
    monkeypatch: pytest.MonkeyPatch, bind: str, address: tuple[str, int], *, is_open: bool
) -> None:
    """It may be meant, for a Prometheus on another host; nobody is to learn of it from a scan."""
    set_all(monkeypatch, **SOUND, PAYYMO_METRICS__BIND=bind)
    settings = read_settings()
    assert settings.metrics.address == address
    assert [bind in warning for warning in warnings_about(settings)] == [True] * is_open
