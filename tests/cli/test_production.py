"""Production starts only when nothing is wrong, and says everything that is, at once. On a real PostgreSQL."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from payymo.cli import payymo
from payymo.compose import compose
from payymo.db.privilege import role_reasons
from payymo.errors import Misconfigured
from tests.support.house import MASTER_KEY, Database, settings_for

SOUND = {"env": "production", "issuer": "https://auth.example.com", "limits": {}, "lockout": {}}


def reasons(database: Database, /, **overrides: object) -> tuple[str, ...]:
    with pytest.raises(Misconfigured) as refused:
        compose(settings_for(database, **(SOUND | overrides)))
    return refused.value.reasons


def test_a_sound_configuration_starts(database: Database) -> None:
    """The checks don't refuse what is right."""
    compose(settings_for(database, **SOUND)).close()


def test_every_reason_is_named_at_once(database: Database) -> None:
    """No second round after the first repair."""
    found = reasons(database, issuer="http://auth.example.com", debug=True, master_key=None)
    assert len(found) == 3
    assert any("master key" in reason for reason in found)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (None, "there is no master key"),
        (MASTER_KEY.replace("payymo-key:", "payymo-development-key:"), "development master key"),
        ("payymo-key:" + "A" * 43, "a weak master key"),
        ("payymo-key:c2hvcnQ", "not a master key"),
        ("correct horse battery staple", "not a master key"),
    ],
)
def test_a_missing_weak_or_development_master_key_is_refused(
    database: Database, key: str | None, sentence: str
) -> None:
    """Invariant 16; the message names the remedy, never the value."""
    [reason] = reasons(database, master_key=key)
    assert sentence in reason
    assert key is None or key.split(":")[-1] not in reason


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS"])
def test_a_role_that_steps_over_the_wall_is_refused(postgres_database: Database, attribute: str) -> None:
    """Invariant 10: row-level security has to bind the role that serves."""
    name = f"bad_{attribute.lower()}"
    owner = postgres_database.owner()
    with owner.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE IF EXISTS {name}"))
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN {attribute} IN ROLE payymo_runtime, payymo_platform"))
    url = sa.make_url(postgres_database.url).set(username=name).render_as_string(hide_password=False)
    [reason] = reasons(replace(postgres_database, url=url))
    assert "superuser" in reason or "bypasses" in reason
    with owner.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE {name}"))
    owner.dispose()


def test_a_role_that_owns_the_tables_is_refused(postgres_database: Database) -> None:
    """The owner could switch row-level security off."""
    owner = postgres_database.owner()
    with owner.begin() as connection:
        connection.execute(sa.text("CREATE ROLE bad_owner LOGIN IN ROLE payymo_runtime, payymo_platform"))
        connection.execute(sa.text("ALTER TABLE sessions OWNER TO bad_owner"))
    url = sa.make_url(postgres_database.url).set(username="bad_owner")
    engine = sa.create_engine(url)
    assert any("owns its tables" in reason for reason in role_reasons(engine))
    engine.dispose()
    with owner.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sessions OWNER TO postgres"))
        connection.execute(sa.text("DROP ROLE bad_owner"))
    owner.dispose()


def test_config_says_what_serve_would_say(sqlite_database: Database, tmp_path: Path) -> None:
    """Whoever asks beforehand gets the same reasons, all of them, and the same exit code."""
    environment = {name: None for name in os.environ if name.startswith("PAYYMO_")}
    environment |= {
        "PAYYMO_ENV": "production",
        "PAYYMO_DATA": str(tmp_path),
        "PAYYMO_DATABASE__URL": "sqlite:////no/x.db",
    }
    for words in (["config"], ["serve"]):
        done = CliRunner().invoke(payymo, words, env=environment)
        assert done.exit_code == 1
        for reason in ("plain http", "there is no master key", "can't be used"):
            assert reason in done.stderr, words
    sound = {"PAYYMO_DATABASE__URL": sqlite_database.url, "PAYYMO_ISSUER": "https://auth.example.com"}
    assert CliRunner().invoke(payymo, ["config"], env=environment | sound).exit_code == 1
    done = CliRunner().invoke(payymo, ["config"], env=environment | sound | {"PAYYMO_MASTER_KEY": MASTER_KEY})
    assert done.exit_code == 0, done.stderr
