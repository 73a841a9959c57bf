"""`payymo prove timing`: on a line whose times are known; and that every pair is answered alike, for the same work."""

import json
import random  # noqa: TID251 - tests may roll dice
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from payymo.cli import payymo
from payymo.cli.prove import Trial
from payymo.cli.timing_file import FORMAT, Head, SampleFile, kept
from payymo.cli.timing_lines import Answer, Inside
from payymo.cli.timing_pairs import PAIRS, Pair
from payymo.cli.timing_world import IMPORTED, Ask, World
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.users import hashes
from payymo.users.passwords import Passwords
from payymo.web.pacing import HOLD
from tests.cli.test_commands import Shell
from tests.support.house import Database, House

BOUND = 250_000
HEAD = Head(FORMAT, "http", 250)
HEAD_LINE = b'{"format":"payymo-timing-1","over":"http","bound_us":250}\n'
SAME = Pair("the same twice", lambda _world: Ask("/a", b"", {}), lambda _world: Ask("/b", b"", {}))


class FakeLine:
    """Answers after a known time, without waiting for it."""

    def __init__(self, *, noise_ns: int = 100_000, late_ns: int = 0, status: int = 401, other: bytes = b"no") -> None:
        self._dice = random.Random(1)
        self._noise = noise_ns
        self._late = late_ns
        self._status = status
        self._other = other
        self.sent = 0

    def send(self, ask: Ask) -> tuple[int, Answer]:
        self.sent += 1
        is_second = ask.path == "/b"
        took = 20_000_000 + self._dice.randrange(self._noise) + is_second * self._late
        return took, Answer(self._status, frozenset(), self._other if is_second else b"no")


def rows_of(line: FakeLine, file: SampleFile | None = None, *, count: int = 200) -> list[dict[str, Any]]:
    nowhere: Any = None
    trial = Trial(line, nowhere, Entropy(), file or SampleFile(), count=count, bound_ns=BOUND, as_json=True)
    return trial.run({"pair": SAME})


def verdicts(line: FakeLine) -> dict[str, str]:
    return {row["pair"]: row["verdict"] for row in rows_of(line)}


def test_each_verdict_is_told() -> None:
    """Within the bound; beyond it; and an answer that differs is a leak however long it takes."""
    assert verdicts(FakeLine()) == {"pair": "no leak within the bound"}
    assert verdicts(FakeLine(late_ns=100_000)) == {"pair": "no leak within the bound"}
    assert verdicts(FakeLine(late_ns=400_000)) == {"pair": "leak"}
    assert verdicts(FakeLine(other=b"No")) == {"pair": "leak"}


def test_a_harness_that_does_not_find_what_was_planted_decides_nothing() -> None:
    """Too much noise for it to hear twice the bound: what it says of the rest is not believed, and one sees why."""
    loud = verdicts(FakeLine(noise_ns=60_000_000, other=b"No"))
    assert loud == {"planted": "undecided", "pair": "undecided"}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_with_limits_is_not_measured(status: int) -> None:
    """What would be measured is the limiter."""
    with pytest.raises(Misconfigured, match="PAYYMO_LIMITS__ENABLED"):
        verdicts(FakeLine(status=status))


@pytest.mark.parametrize("status", [403, 404])
def test_what_the_service_does_not_do_is_not_measured(status: int) -> None:
    """Without mail, or where registration is closed, both are refused alike before anybody is looked up."""
    with pytest.raises(Misconfigured, match=f"answers with {status}"):
        verdicts(FakeLine(status=status))


def test_ten_thousand_letters_go_into_a_folder(sqlite_database: Database) -> None:
    """Said before anything is measured, and before anything is made: not after hours, and to no mail server."""
    words = ("prove", "timing", "--url", "http://127.0.0.1:1", "--pair", "reset-unknown")
    smtp = {"PAYYMO_MAIL__HOST": "smtp.example.com", "PAYYMO_MAIL__SENDER": "no-reply@example.com"}
    for mail in ({}, smtp, {"PAYYMO_MAIL__TRANSPORT": "console"}):
        done = Shell(sqlite_database, **mail).run(*words)
        assert (done.exit_code, "PAYYMO_MAIL__TRANSPORT=file:/folder" in done.stderr) == (1, True)
    folder = {"PAYYMO_MAIL__TRANSPORT": f"file:{sqlite_database.data}/mail"}
    assert "nobody answers there" in Shell(sqlite_database, **folder).run(*words).stderr


def resumed(path: Path, line: FakeLine, *, count: int) -> dict[str, Any]:
    with kept(path, HEAD, resume=True) as file:
        [row] = rows_of(line, file, count=count)
    return row


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    """Hours are not lost to a reboot: what is in the file counts, and only the rest is asked for."""
    path, line = tmp_path / "samples", FakeLine()
    assert resumed(path, line, count=100)["samples"] == 100
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # killed in the middle of a line

    line.sent = 0
    row = resumed(path, line, count=150)
    assert (row["samples"], row["verdict"]) == (150, "no leak within the bound")
    assert line.sent == 2 * (20 + 50) + 2 * (20 + 51)  # a warm-up, and the rest, of what is planted and of the pair
    assert path.read_bytes().startswith(whole[:-200])
    assert len(path.read_bytes().splitlines()) == 1 + 2 * 150

    line.sent = 0
    assert resumed(path, line, count=150) == row
    assert line.sent == 0


def test_an_answer_that_differed_is_not_forgotten(tmp_path: Path) -> None:
    """It tells everything, also when the rest is measured on another day."""
    path = tmp_path / "samples"
    assert resumed(path, FakeLine(other=b"No"), count=100)["verdict"] == "leak"
    row = resumed(path, FakeLine(), count=200)
    assert (row["samples"], row["verdict"], row["same_answer"]) == (200, "leak", False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"format":"payymo-timing-1","over":"process","bound_us":250}\n', "line 1: measured in another way"),
        (b'{"format":"payymo-timing-1","over":"http","bound_us":100}\n', "line 1: measured in another way"),
        (b"pair,first_ns,second_ns\n", "line 1: JSON is malformed"),
        (HEAD_LINE + b'{"pair":"x","first_ns":"1","second_ns":2,"same_answer":true}\n', "line 2: Expected `int`"),
    ],
)
def test_samples_of_something_else_are_left_alone(tmp_path: Path, content: bytes, why: str) -> None:
    """Which line, what is wrong with it, what to do; and nothing is written over."""
    path = tmp_path / "samples"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match=f"{path}, {why}.*name another file"), kept(path, HEAD, resume=True):
        pass
    assert path.read_bytes() == content


def test_a_file_of_samples_has_one_writer(tmp_path: Path) -> None:
    """Who begins anew writes over nothing, and two who go on at once are not mixed."""
    path = tmp_path / "samples"
    with kept(path, HEAD, resume=True):
        for resume, why in ((True, "another measurement is writing it"), (False, "--resume goes on with it")):
            with pytest.raises(Misconfigured, match=why), kept(path, HEAD, resume=resume):
                pass
    with pytest.raises(Misconfigured, match="No such file"), kept(tmp_path / "no" / "samples", HEAD, resume=False):
        pass
    with (
        pytest.raises(Misconfigured, match="/dev/zero: is no regular file"),
        kept(Path("/dev/zero"), HEAD, resume=True),
    ):
        pass


def test_samples_without_room_are_told_of(tmp_path: Path) -> None:
    """By the name of the file; it would measure for hours otherwise, and keep nothing."""
    with FileIO("/dev/full", "w") as full, pytest.raises(Misconfigured, match="samples: No space left on device"):
        rows_of(FakeLine(), SampleFile(tmp_path / "samples", full))


def test_to_go_on_needs_a_file() -> None:
    """Else it would begin anew, and nobody would notice."""
    done = CliRunner().invoke(payymo, ["prove", "timing", "--resume"])
    assert (done.exit_code, "name it with --output" in done.output) == (2, True)


def test_the_command_measures_a_service_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is set around it; too few samples are no verdict, and that is a negative finding."""
    monkeypatch.setenv("PAYYMO_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/nothing")
    file = tmp_path / "samples"
    words = ["prove", "timing", "--samples", "1", "--pair", "verify-expired", "--json", "--output", str(file)]
    done = CliRunner().invoke(payymo, words)
    assert done.exit_code == 1, done.output
    head, *lines = map(json.loads, file.read_text().splitlines())
    assert head == {"format": "payymo-timing-1", "over": "process", "bound_us": 250}
    assert [line["pair"] for line in lines] == ["planted", "verify-expired"]
    rows = json.loads(done.stdout)
    assert [(row["pair"], row["verdict"], row["same_answer"]) for row in rows] == [
        ("planted", "undecided", True),
        ("verify-expired", "undecided", True),
    ]


CHEAP = {
    "bcrypt": "$2b$04$I6B3ZnMK0LnPGMNg2bmRoOEdVyEhrWBUr5GZW9mFrbXBhzYbFZlNi",
    "pbkdf2": "pbkdf2:sha256:1000$salt$" + "00" * 32,
    "scrypt": "scrypt:16:8:1$salt$" + "00" * 64,
    "argon2": "$argon2id$v=19$m=512,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE",
}
"""The same schemes with parameters that take no time."""


class Workshop:
    """A world in a house, and what each request makes it do."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        for scheme in IMPORTED:
            monkeypatch.setitem(IMPORTED, scheme, CHEAP[scheme])
        house.services.budgets._clock = lambda: 0.0  # nobody looks for other hashes in the middle of it
        self.world = World(house.services)
        self.held: list[float] = []
        self.hashed: list[str] = []
        self.statements: list[str] = []
        self._line = Inside(lambda environ, start: house.app.wsgi_app({**environ, HOLD: self.held.append}, start))
        monkeypatch.setattr(hashes, "verify", self._noting(hashes.verify))
        sa.event.listen(house.services.engine, "before_cursor_execute", self._note)

    def _noting(self, real: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
        return lambda password, stored: self.hashed.append(hashes.kind_of(stored)) or real(password, stored)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self.statements.append(statement)

    def do(self, ask: Ask) -> tuple[Answer, list[str], list[str], int]:
        """The answer; the hashes, the statements that led to it; and how often it was held."""
        for noted in (self.held, self.hashed, self.statements):
            noted.clear()
        _, answer = self._line.send(ask)
        return answer, list(self.hashed), list(self.statements), len(self.held)


@pytest.fixture
def workshop(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    mail = {"transport": f"file:{sqlite_database.data}/mail"}
    house = House(sqlite_database, passwords=Passwords(), mail=mail)
    built = Workshop(house, monkeypatch)
    yield built
    built.world.clear()
    house.close()


def test_every_pair_is_answered_alike_and_held(workshop: Workshop) -> None:
    """CVE-2021-29621, CVE-2024-41952, invariant 24: same status, headers and bytes.

    Both answers are held until a moment that they have in common, and where they can, they do the same work before.
    """
    for name, pair in PAIRS.items():
        asked = [case(workshop.world) for case in (pair.first, pair.second)]
        workshop.do(asked[0])  # what is looked up once is looked up now
        first, second = (workshop.do(ask) for ask in asked)
        assert first[0] == second[0], name
        assert first[0].status in {202, 401, 422}, name
        assert first[3] == second[3] == 1, name
        is_of_token = name.startswith(("verify", "refresh", "reset", "link"))
        is_other_work = is_of_token or name.removeprefix("login-") in IMPORTED
        assert is_other_work or first == second, name
