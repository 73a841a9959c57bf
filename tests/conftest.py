"""Real services for every test: PostgreSQL and Valkey from our own launcher, a fresh database per test.

A template is migrated, and its signing keys are made, once per process. Each test gets a copy: tests commit for real,
so that what they see is what users see.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.compose import compose
from payymo.db import migrate
from payymo.db.work import connect
from payymo.logs import SecurityLog
from tests.support import once, services
from tests.support.house import Client, Database, FakeClock, House, fresh_name, settings_for
from tests.support.softhsm import SoftHsm, softhsm
from tests.support.vault import FakeVault
from tests.support.vault_server import VaultServer, serving

SERVICE_ROLE = "payymo_service"
TEMPLATE = "payymo_template"
GUARD = Path(__file__).parent / "guard"
WITHOUT_SERVICES = frozenset(
    ("copied", "hsm", "postgres_server", "postgres_template", "sqlite_template", "tmp_path_factory", "valkey_server")
)
"""Fixtures of several tests in which no service lives on from one to the next."""

Copied = Callable[[str, Path], AbstractContextManager[Database]]


once.compile_once()
if (memory := services.memory(programs=True)) is not None:
    # On a disk every commit to SQLite waits for it. Only what failed is kept (pyproject.toml), for it takes memory.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: now and then a test waits for a process that it has started, or for an answer."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was given more time than others begins first: else one worker is left with it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    once.leave_alone_what_is_here()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test with services of its own alone may have the keys of the one before. The guard's keep theirs for all."""
    known: dict[str, Any] = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    wider = {name for name, found in known.items() if found[-1].scope != "function"}
    once.SPARE_KEYS.begin(are_given=wider <= WITHOUT_SERVICES and item.path.parent != GUARD)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[services.Postgres]:
    """A running PostgreSQL with the service's login role, which owns nothing."""
    with services.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[services.Valkey]:
    """A running Valkey."""
    with services.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def hsm() -> Iterator[SoftHsm]:
    """A hardware token, as software plays it."""
    with softhsm() as found:
        yield found


@pytest.fixture(scope="session")
def postgres_template(postgres_server: services.Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database with keys in it, to be copied."""
    postgres_server.create_database(TEMPLATE)
    owner = connect(postgres_server.url(TEMPLATE))
    migrate.upgrade(owner)
    with owner.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {SERVICE_ROLE} LOGIN IN ROLE payymo_runtime, payymo_platform"))
    owner.dispose()
    _fill(
        Database(
            "postgresql",
            postgres_server.url(TEMPLATE, SERVICE_ROLE),
            postgres_server.url(TEMPLATE),
            tmp_path_factory.mktemp("template"),
        )
    )
    return TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file with keys in it, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    url = f"sqlite:///{folder / 'payymo.db'}"
    engine = connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    _fill(Database("sqlite", url, url, folder))
    with sa.create_engine(url).connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "payymo.db"


def _fill(database: Database) -> None:
    with once.SPARE_KEYS.apart():
        built = compose(settings_for(database), log=SecurityLog())
    built.sequencer.integrate_all()
    built.close()


@pytest.fixture(scope="session")
def copied(request: pytest.FixtureRequest) -> Copied:
    """Copies the template of a kind into a folder, for as long as a block lasts.

    For what serves a module whose tests change nothing, or each something of its own. The rest has fixtures below.
    """

    @contextmanager
    def copy(kind: str, folder: Path) -> Iterator[Database]:
        if kind == "sqlite":
            shutil.copy(request.getfixturevalue("sqlite_template"), folder / "payymo.db")
            url = f"sqlite:///{folder / 'payymo.db'}"
            yield Database("sqlite", url, url, folder)
            return
        server: services.Postgres = request.getfixturevalue("postgres_server")
        name = fresh_name()
        server.create_database(name, request.getfixturevalue("postgres_template"))
        yield Database("postgresql", server.url(name, SERVICE_ROLE), server.url(name), folder)
        server.drop_database(name)

    return copy


@pytest.fixture
def sqlite_database(copied: Copied, tmp_path: Path) -> Iterator[Database]:
    """An SQLite database of this test's own."""
    with copied("sqlite", tmp_path) as database:
        yield database


@pytest.fixture
def postgres_database(copied: Copied, tmp_path: Path) -> Iterator[Database]:
    """A PostgreSQL database of this test's own."""
    with copied("postgresql", tmp_path) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each kind of database in turn."""
    name = {"sqlite": "sqlite_database", "postgresql": "postgres_database"}[request.param]
    found: Database = request.getfixturevalue(name)
    return found


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    """The service on each kind of database in turn."""
    built = House(database)
    yield built
    built.close()


@pytest.fixture
def sqlite_house(sqlite_database: Database) -> Iterator[House]:
    """The service on SQLite, where the database makes no difference."""
    built = House(sqlite_database)
    yield built
    built.close()


@pytest.fixture
def client(house: House) -> Client:
    """A client of the service, in the default tenant."""
    return house.client()


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    """A double of HashiCorp Vault of this test's own, with a Transit key `payymo`."""
    fake = FakeVault(FakeClock())
    fake.make_key()
    with serving(fake) as server:
        yield server
