"""One suite for everything that keeps named secrets: the database (tenant's, service's), files, variables, Vault."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from payymo.db.work import Transaction
from payymo.entropy import Entropy
from payymo.errors import Conflict, InvalidInput, Misconfigured, NotFound
from payymo.logs import Event, Trace
from payymo.secrets.model import MAX_SECRET_BYTES
from payymo.secrets.providers import Change, EnvironmentSecrets, FileSecrets, Provider
from payymo.secrets.service import Secrets
from payymo.secrets.vault_secrets import open_secrets
from tests.support.crew import Crew
from tests.support.house import House
from tests.support.vault_server import access_to

STORED = ("tenant on sqlite", "tenant on postgres", "service on sqlite", "service on postgres")
WRITABLE = (*STORED, "folder", "vault")


@dataclass(frozen=True, slots=True)
class Kept:
    """A provider, and a way to put what stands there before anybody asks."""

    provider: Provider
    seed: Callable[[str, list[bytes]], None]


@pytest.fixture
def stored(request: pytest.FixtureRequest, kind: str) -> Iterator[Provider]:
    """A tenant's secrets or the service's, on a database of the kind that the provider's name ends with."""
    owner, _, database = kind.partition(" on ")
    house = House(request.getfixturevalue(f"{database}_database"))
    tenant_id = house.tenant("a").id if owner == "tenant" else None

    def record(tx: Transaction, change: Change, name: str, version: int) -> None:
        event = Event(f"secret.{change}", trace=Trace(), secret=name, version=version)
        house.services.audit.record(tx, event)

    yield house.services.secrets._places.open("database:", tenant_id, record=record)
    house.close()


@pytest.fixture(params=[*WRITABLE, "variables"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of provider in turn."""
    found: str = request.param
    return found


@pytest.fixture
def kept(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Kept:
    """A provider of this kind, empty."""
    if kind == "variables":
        environment: dict[str, str] = {"OTHER_SMTP": "x", "APP_": "x", "APP_EMPTY": ""}

        def export(name: str, values: list[bytes]) -> None:
            for number, value in enumerate(values, 1):
                variable = f"APP_{name.upper().replace('-', '_').replace('.', '_')}"
                environment[variable if number == 1 else f"{variable}_V{number}"] = value.decode()

        return Kept(EnvironmentSecrets("APP_", environment), export)
    if kind == "vault":
        server = request.getfixturevalue("vault")
        provider: Provider = open_secrets("vault:secret/payymo", access_to(server.address), server.vault.clock)
    elif kind == "folder":
        folder = tmp_path / "secrets"
        folder.mkdir(mode=0o700)
        provider = FileSecrets(folder, Entropy())
    else:
        provider = request.getfixturevalue("stored")

    def put(name: str, values: list[bytes]) -> None:
        assert [provider.put(name, value) for value in values] == list(range(1, len(values) + 1))

    return Kept(provider, put)


@pytest.fixture
def writable(kept: Kept) -> Provider:
    """A provider that can be written to; the variables of a process are told apart by their own test."""
    if isinstance(kept.provider, EnvironmentSecrets):
        pytest.fail("parametrized wrongly")
    return kept.provider


in_writable = pytest.mark.parametrize("kind", WRITABLE, indirect=True)


def test_the_newest_version_is_found_unless_another_is_named(kept: Kept) -> None:
    """Versions count from 1, and stay what they were."""
    assert kept.provider.find("smtp-password", None) is None
    kept.seed("smtp-password", [b"first", b"second", b"third"])
    kept.seed("other", [b"x"])
    found = kept.provider.find("smtp-password", None)
    assert found is not None
    assert (found.name, found.version, found.value) == ("smtp-password", 3, b"third")
    assert [kept.provider.find("smtp-password", number).value for number in (1, 2)] == [b"first", b"second"]  # type: ignore[union-attr]
    for number in (0, 4, 10**6):
        assert kept.provider.find("smtp-password", number) is None
    assert kept.provider.find("smtp", None) is None


def test_a_list_shows_names_and_versions_and_never_a_value(kept: Kept) -> None:
    """Invariant 17: not in the list, and not in what a secret looks like when it is printed."""
    kept.seed("b", [b"VALUE"])
    kept.seed("a", [b"VALUE", b"VALUE"])
    listed = kept.provider.list_versions()
    assert [(one.name, one.version, one.retired_at) for one in listed] == [
        ("a", 1, None),
        ("a", 2, None),
        ("b", 1, None),
    ]
    assert "VALUE" not in repr(listed) + repr(kept.provider.find("a", None)) + str(kept.provider.find("a", None))


@in_writable
def test_a_retired_version_is_gone_for_good(writable: Provider) -> None:
    """The one before it is in use then; its number is never given to another value."""
    assert [writable.put("token", value) for value in (b"1", b"2")] == [1, 2]
    assert writable.retire("token", 2)
    assert writable.find("token", 2) is None
    assert writable.find("token", None).value == b"1"  # type: ignore[union-attr]
    assert not writable.retire("token", 2)
    assert not writable.retire("token", 9)
    assert not writable.retire("nothing", 1)
    assert writable.retire("token", 1)
    assert writable.find("token", None) is None
    assert writable.put("token", b"3") == 3
    assert [(one.version, one.retired_at is None) for one in writable.list_versions()] == [
        (1, False),
        (2, False),
        (3, True),
    ]


@in_writable
def test_any_octets_are_kept_as_they_are(writable: Provider) -> None:
    """No newline is lost, no encoding assumed."""
    value = bytes(range(256)) + b"\r\n\n"
    writable.put("blob", value)
    assert writable.find("blob", None).value == value  # type: ignore[union-attr]


@in_writable
def test_of_many_at_once_each_gets_a_version_of_its_own_or_is_told(writable: Provider) -> None:
    """Nothing that was acknowledged is overwritten."""

    def put(number: int) -> tuple[int, bytes] | None:
        value = b"value %d" % number
        try:
            return writable.put("race", value), value
        except Conflict:
            return None

    with Crew(8) as pool:
        done = [found for found in pool.map(put, range(16)) if found is not None]
    assert len({version for version, _ in done}) == len(done) >= 1
    for version, value in done:
        assert writable.find("race", version).value == value  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["variables"], indirect=True)
def test_variables_can_not_be_written(kept: Kept) -> None:
    """It is said where they can."""
    kept.seed("a", [b"1"])
    with pytest.raises(Conflict, match="where the service is started"):
        kept.provider.put("a", b"2")
    with pytest.raises(Conflict, match="where the service is started"):
        kept.provider.retire("a", 1)


NO_NAMES = ["", "-a", ".a", "A", "a/b", "../a", "a b", "a" * 65, "ä", "a\n", ".", "a."]
LIKE_VERSIONS = ["a.v2", "a-v2", "a_v2", "a.retired", "a.v2.retired"]


@pytest.mark.parametrize("name", NO_NAMES + LIKE_VERSIONS)
def test_a_name_that_is_none_everywhere_is_refused(house: House, tmp_path: Path, name: str) -> None:
    """No path, no other version's file, no control sign: before anything is looked at."""
    secrets: Secrets = house.services.secrets
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    for at in ("database:", f"file:{folder}", "env:APP_", "vault:secret"):
        with pytest.raises(InvalidInput):
            secrets.get(name, at=at, trace=Trace())
        with pytest.raises(InvalidInput):
            secrets.put(name, b"x", at=at, trace=Trace())
        with pytest.raises(InvalidInput):
            secrets.retire(name, 1, at=at, trace=Trace())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("value", [b"", b"x" * (MAX_SECRET_BYTES + 1)], ids=["empty", "large"])
def test_a_value_that_is_none_is_refused(sqlite_house: House, value: bytes) -> None:
    """An empty secret is a mistake of a pipe, not a secret."""
    with pytest.raises(InvalidInput):
        sqlite_house.services.secrets.put("a", value, trace=Trace())
    assert sqlite_house.services.secrets.list_versions() == ()


def test_every_access_is_logged_with_who_and_which_and_what_came_of_it(sqlite_house: House) -> None:
    """And never with the value."""
    secrets, trace = sqlite_house.services.secrets, Trace(request_id="r-1")
    secrets.put("a", b"THE-VALUE", trace=trace)
    secrets.get("a", trace=trace)
    with pytest.raises(NotFound):
        secrets.get("a", 7, trace=trace)
    secrets.retire("a", 1, trace=trace)
    found = [
        (one["event"], one["outcome"], one["secret"], one["version"], one["request_id"])
        for one in sqlite_house.events()
        if one["event"].startswith("secret.")
    ]
    assert found == [
        ("secret.put", "success", "a", "1", "r-1"),
        ("secret.read", "success", "a", "1", "r-1"),
        ("secret.read", "refused", "a", "7", "r-1"),
        ("secret.retired", "success", "a", "1", "r-1"),
    ]
    assert "THE-VALUE" not in sqlite_house.log_lines.getvalue()


# ── the folder ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_that_a_container_is_given_are_version_1(tmp_path: Path) -> None:
    """A plain file, also one that is a link, as orchestrators make them."""
    (tmp_path / "..data").mkdir(mode=0o700)
    (tmp_path / "..data" / "db").write_bytes(b"secret\n")
    (tmp_path / "..data" / "db").chmod(0o440)
    (tmp_path / "db").symlink_to(tmp_path / "..data" / "db")
    folder = FileSecrets(tmp_path, Entropy())
    assert [(one.name, one.version) for one in folder.list_versions()] == [("db", 1)]
    assert folder.find("db", None).value == b"secret\n"  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """The remedy is in the message, the value is not."""
    path = tmp_path / "db"
    path.write_bytes(b"THE-VALUE")
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600") as refused:
        FileSecrets(tmp_path, Entropy()).find("db", None)
    assert "THE-VALUE" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_folder_where_others_may_put_secrets_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever may rename a file decides which secret there is."""
    tmp_path.chmod(mode)
    for act in (lambda s: s.list_versions(), lambda s: s.find("a", None), lambda s: s.put("a", b"x")):
        with pytest.raises(Misconfigured, match="chmod 700"):
            act(FileSecrets(tmp_path, Entropy()))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the way to make it."""
    with pytest.raises(Misconfigured, match="mkdir -m 700"):
        FileSecrets(tmp_path / "none", Entropy()).list_versions()


def test_what_is_written_is_readable_by_its_owner_alone_under_any_umask(tmp_path: Path) -> None:
    """And no draft is left behind."""
    before = os.umask(0)
    try:
        FileSecrets(tmp_path, Entropy()).put("a", b"x")
    finally:
        os.umask(before)
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_retirement_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """Between the mark and the removal: retired it is, and the value goes; both files of a first version do."""
    folder = FileSecrets(tmp_path, Entropy())
    for name in ("a", "a.v1", "a.v1.retired"):
        (tmp_path / name).write_bytes(b"" if name.endswith("retired") else b"secret")
        (tmp_path / name).chmod(0o600)
    assert folder.find("a", None) is None
    assert not folder.retire("a", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.v1.retired"]


def test_a_version_that_was_put_and_retired_meanwhile_is_not_answered_as_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledged value that nobody finds would be lost, and would lie there for ever."""
    one, other = FileSecrets(tmp_path, Entropy()), FileSecrets(tmp_path, Entropy())
    look = one.list_versions

    def look_and_then() -> Any:
        found = look()
        other.put("a", b"x")
        other.retire("a", 1)
        return found

    monkeypatch.setattr(one, "list_versions", look_and_then)
    with pytest.raises(Conflict):
        one.put("a", b"mine")
    assert [path.name for path in tmp_path.iterdir()] == ["a.v1.retired"]


def test_octets_of_a_variable_are_kept_as_they_are() -> None:
    """Also those that are not UTF-8."""
    found = EnvironmentSecrets("APP_", {"APP_A": os.fsdecode(b"\xff\xfe")}).find("a", None)
    assert found is not None
    assert found.value == b"\xff\xfe"


@pytest.mark.parametrize("version", [2**31, 2**63, 10**30])
def test_a_version_that_no_column_holds_is_not_there(house: House, version: int) -> None:
    """On each database, without an error of its own."""
    house.services.secrets.put("a", b"x", trace=Trace())
    with pytest.raises(NotFound):
        house.services.secrets.get("a", version, trace=Trace())
    with pytest.raises(NotFound):
        house.services.secrets.retire("a", version, trace=Trace())


def test_an_unknown_place_is_refused(sqlite_house: House) -> None:
    """With those that there are."""
    for uri in ("", "database", "database:x", "file:", "http://x", "vault:", "vault", "env"):
        with pytest.raises(NotFound, match="use database:, file:/folder, env:PREFIX_ or vault:MOUNT/PREFIX"):
            sqlite_house.services.secrets.list_versions(at=uri)
