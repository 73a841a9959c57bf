"""Users of another system come in once, with their hashes, whatever happens on the way."""

import base64
import io
import json
from typing import Any

import bcrypt
import pytest
import sqlalchemy as sa

from payymo.db.schema import user_roles, users
from payymo.errors import InvalidInput
from payymo.logs import Event, Trace
from payymo.users import imports
from payymo.users.import_file import LONGEST_LINE, Format, Line, LineRefused, Newcomer, read_lines
from payymo.users.imports import Summary
from tests.support.house import PASSWORD, House

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"another fine Passw0rd", bcrypt.gensalt(4)).decode()
SALTED = f"pbkdf2_sha256$1000$a{{}}b${base64.b64encode(bytes(32)).decode()}"
"""As Django writes it, around what is between two letters of the salt."""


class Killed(Exception):
    """The process ends here."""


def record(name: str, **more: Any) -> dict[str, Any]:
    """A user `name@example.com` of another system."""
    return {"email": f"{name}@example.com", "username": name, "password_hash": HASH, **more}


def file_of(*records: Any) -> io.BytesIO:
    """A file of JSON lines; bytes stand for themselves."""
    lines = (given if isinstance(given, bytes) else json.dumps(given).encode() for given in records)
    return io.BytesIO(b"".join(line + b"\n" for line in lines))


def run(house: House, file: io.BytesIO, form: Format = "json", **more: Any) -> tuple[Summary, dict[int, str]]:
    """What came of an import into the default tenant, and what was wrong with which line."""
    refused: dict[int, str] = {}
    more = {"refuse": lambda line, reason: refused.update({line.number: str(reason)}), **more}
    summary = house.services.user_import.run(
        house.default.id, read_lines(file, form), by=None, trace=Trace(request_id="console"), **more
    )
    return summary, refused


def counts(summary: Summary) -> tuple[int, int, int, int]:
    """Imported, already there, changed since, failed."""
    lines = summary.lines
    return lines["imported"], lines["already_there"], lines["changed_since"], lines["failed"]


def stored(house: House) -> dict[str, tuple[str, str]]:
    """User names with their hashes and status."""
    owner = house.database.owner()
    with owner.connect() as connection:
        found = {
            row.username: (row.password_hash, row.status)
            for row in connection.execute(sa.select(users.c.username, users.c.password_hash, users.c.status))
        }
    owner.dispose()
    return found


def test_who_is_imported_logs_in_with_the_old_password_and_has_a_new_hash_then(house: House) -> None:
    """Nobody has to reset; roles and status come along; a second run finds everybody, also who has logged in since."""
    given = [
        record("alice", roles=["member", "read-only"]),
        record("bob", status="disabled"),
        record("carol", roles=[]),
    ]
    assert counts(run(house, file_of(*given))[0]) == (3, 0, 0, 0)
    assert house.client().log_in(password="not the password").status_code == 401
    client = house.client()
    answer = client.log_in()
    assert answer.status_code == 200
    assert sorted(answer.get_json()["data"]["user"]["roles"]) == ["member", "read-only"]
    assert house.client().log_in("bob@example.com").status_code == 401
    assert stored(house)["alice"][0].startswith("$argon2id$")
    assert stored(house)["bob"] == (HASH, "disabled")
    assert counts(run(house, file_of(*given))[0]) == (0, 2, 1, 0)
    assert [line["event"] for line in house.events()].count("user.imported") == 3


def test_a_run_that_was_killed_is_finished_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 6: what was committed stays, and each user comes in once, whichever batch it ended in."""
    monkeypatch.setattr(imports, "AT_A_TIME", 2)
    given = [record(f"user{number}") for number in range(5)]

    def die(number: int) -> None:
        if number == 4:
            raise Killed

    with pytest.raises(Killed):
        run(house, file_of(*given), progress=die)
    assert len(stored(house)) == 4
    reached: list[int] = []
    summary, refused = run(house, file_of(*given), progress=reached.append)
    assert counts(summary) == (1, 4, 0, 0)
    assert refused == {}
    assert reached == [2, 4, 5]
    assert len(stored(house)) == 5
    assert summary.schemes == {"bcrypt,cost=4": 1}


def test_who_is_there_is_never_changed(house: House) -> None:
    """Another hash, another name for the address, another address for the name: an error each, and nothing moves."""
    house.user("alice")
    run(house, file_of(record("bob")))
    before = stored(house)
    summary, refused = run(
        house,
        file_of(
            record("bob", password_hash=OTHER_HASH),
            record("robert", email="BOB@Example.com"),
            record("Bob", email="another@example.com"),
            record("alice", email="bob@example.com"),
            record("carol"),
            record("CAROL", email="carol2@example.com"),
            record("carol"),
        ),
    )
    assert counts(summary) == (1, 1, 0, 5)
    assert "another password hash" in refused[1]
    assert "e-mail address" in refused[2]
    assert all("user name" in refused[number] for number in (3, 4, 6))
    assert {name: facts for name, facts in stored(house).items() if name != "carol"} == before


def test_who_registered_and_never_verified_the_address_is_not_taken_for_who_is_imported(house: House) -> None:
    """A stranger may have typed both names in: they would be called changed since, and the old hash would be lost."""
    own, users_of = house.default.id, house.services.users
    new = house.services.passwords.hash(PASSWORD)
    with house.services.work(own) as tx:
        users_of.add_unverified(tx, own, email="alice@example.com", username="alice", password_hash=new)
        house.services.audit.record(tx, Event("user.registered", trace=Trace()))
    summary, refused = run(house, file_of(record("alice"), record("bob")))
    assert counts(summary) == (1, 0, 0, 1)
    assert "not verified" in refused[1]
    assert stored(house)["alice"] == (new, "unverified")


def test_somebody_registers_while_the_batch_is_on_its_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is taken between the look and the insert fails alone: the rest of the batch comes in."""
    look = imports.store.find_named
    looked: list[int] = []

    def look_before_it_is_there(*given: Any) -> Any:
        looked.append(len(given[1]))
        return look(*given) if len(looked) > 1 else ()

    house.user("bob")
    monkeypatch.setattr(imports.store, "find_named", look_before_it_is_there)
    summary, refused = run(house, file_of(record("alice"), record("bob"), record("carol")))
    assert looked == [3, 1, 1, 1]
    assert counts(summary) == (2, 0, 1, 0)
    assert refused == {}
    assert set(stored(house)) == {"alice", "bob", "carol"}


def test_nobody_imports_a_role_that_they_could_not_give(sqlite_house: House) -> None:
    """Invariant 11: whoever imports gives what they have; roles that are not there are an error of the line."""

    class Boss:
        user_id = sqlite_house.default.id

        def authority_in(self, _: object) -> tuple[str, ...]:
            return ("account:*", "users:*")

    given = file_of(
        record("alice"), record("bob", roles=["tenant-administrator"]), record("carol", roles=["member", "nope"])
    )
    refused: dict[int, str] = {}
    summary = sqlite_house.services.user_import.run(
        sqlite_house.default.id,
        read_lines(given, "json"),
        by=Boss(),
        trace=Trace(),
        refuse=lambda line, reason: refused.update({line.number: str(reason)}),
    )
    assert counts(summary) == (1, 0, 0, 2)
    assert "grants more than you have" in refused[2]
    assert "no role 'nope'" in refused[3]
    owner = sqlite_house.database.owner()
    with owner.connect() as connection:
        assert connection.execute(sa.select(user_roles.c.role_name)).scalars().all() == ["member"]
    owner.dispose()


def test_a_dry_run_writes_nothing(sqlite_house: House) -> None:
    """It says what would be done, and no event says that it was."""
    summary, refused = run(sqlite_house, file_of(record("alice"), record("alice"), b"x"), dry_run=True)
    assert counts(summary) == (1, 1, 0, 1)
    assert list(refused) == [3]
    assert stored(sqlite_house) == {}
    assert not [line for line in sqlite_house.events() if line["event"] == "user.imported"]


BAD = [
    (b"x", "not JSON"),
    (b"\xff", "not JSON"),
    (b"[" * 100_000, "longer than"),
    (b"[" * 10_000, "not JSON"),
    (b"[]", "write an object"),
    (b'{"email": "a@example.com", "email": "b@example.com"}', "twice"),
    (record("alice", password="x"), "unknown: password"),
    ({"email": "alice@example.com", "username": "alice"}, "password_hash: missing"),
    (record("alice", email=1), "email: missing, or no text"),
    (record("alice", email="alice"), "email: an e-mail address"),
    (record("al"), "username: 3 to 30"),
    (record("alice", roles="member"), "roles: at most"),
    (record("alice", roles=["r"] * 21), "roles: at most"),
    (record("alice", status="deleted"), "status: active or disabled"),
    (record("alice", status="unverified"), "status: active or disabled"),
    (record("alice", status=["active"]), "status: active or disabled"),
    (record("alice", password_hash="md5$x"), "password_hash: no scheme that we know"),
    (record("alice", password_hash=HASH.replace("$04$", "$31$")), "cost outside of 4 to 16"),
    (record("alice", email="a" * LONGEST_LINE), "longer than"),
    *(
        (record("alice", password_hash=SALTED.format(salt)), "control characters")
        for salt in ("\0", "\ud800", "\x1b[m")
    ),
]


def test_every_bad_line_has_its_number_and_its_reason() -> None:
    """One bad line is one error: those after it are read as if nothing had been; no hash is in the reason."""
    lines = list(read_lines(file_of(*(given for given, _ in BAD), b"", record("alice")), "json"))
    assert [line.number for line in lines] == [*range(1, len(BAD) + 1), len(BAD) + 2]
    for line, (_, reason) in zip(lines, BAD, strict=False):
        assert isinstance(line.found, LineRefused), reason
        assert reason in str(line.found)
        assert HASH not in str(line.found)
    assert isinstance(lines[-1].found, Newcomer)


def test_csv_is_read_as_it_is_written() -> None:
    """Columns in any order, a byte order mark, roles apart by blanks, quoted line breaks, and a broken quote."""
    text = (
        "\ufeffusername,email,status,password_hash,roles\r\n"
        f"alice,alice@example.com,,{HASH},\r\n"
        f'bob,bob@example.com,disabled,"{HASH}",member  clerk\r\n'
        f'"ca\nrol",carol@example.com,,{HASH},\r\n'
        f'"dave"x,dave@example.com,,{HASH},\r\n'
        f"erin,erin@example.com,{HASH}\r\n"
        "\r\n"
        f'"{"g" * LONGEST_LINE}",grace@example.com,,{HASH},\r\n'
        f"frank,frank@example.com,active,{HASH},member\r\n"
    )
    latin = f"heidi,heidi@example.com,,{SALTED.format('ä')},member".encode("latin-1")
    lines: dict[int, Line] = {line.number: line for line in read_lines(io.BytesIO(text.encode() + latin), "csv")}
    assert list(lines) == [2, 3, 5, 6, 7, 9, 10, 11]
    alice, bob, frank = (lines[number].found for number in (2, 3, 10))
    assert isinstance(alice, Newcomer)
    assert isinstance(bob, Newcomer)
    assert isinstance(frank, Newcomer)
    assert (alice.roles, alice.status) == (("member",), "active")
    assert (bob.roles, bob.status, bob.password_hash) == (("member", "clerk"), "disabled", HASH)
    assert [str(lines[number].found)[:9] for number in (5, 6, 7, 9)] == [
        *("username:", "not CSV (", "3 fields,", "longer th"),
    ]
    assert "not UTF-8" in str(lines[11].found)
    assert lines[5].text.count(b"\n") == 2


@pytest.mark.parametrize(
    "header", ["", "email,username", "email,username,password_hash,age", "email,email,username,password_hash"]
)
def test_csv_without_a_sound_first_line_is_refused(header: str) -> None:
    """Guessing which column is which is not our business."""
    with pytest.raises(InvalidInput, match="name the columns"):
        list(read_lines(io.BytesIO(header.encode()), "csv"))
