"""`payymo prove timing`: on a line whose times are known; and that every pair is answered alike, for the same work."""

import json
import random  # noqa: TID251 - tests may roll dice
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from payymo.cli import payymo
from payymo.cli.prove import Trial
from payymo.cli.timing_lines import Answer, Inside
from payymo.cli.timing_pairs import PAIRS, Pair
from payymo.cli.timing_world import IMPORTED, Ask, World
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.users import hashes
from payymo.users.passwords import Passwords
from payymo.web.pacing import HOLD
from tests.support.house import Database, House

BOUND = 250_000
SAME = Pair("the same twice", lambda _world: Ask("/a", b"", {}), lambda _world: Ask("/b", b"", {}))


class FakeLine:
    """Answers after a known time, without waiting for it."""

    def __init__(self, *, noise_ns: int = 100_000, late_ns: int = 0, status: int = 401, other: bytes = b"no") -> None:
        self._dice = random.Random(1)
        self._noise = noise_ns
        self._late = late_ns
        self._status = status
        self._other = other

    def send(self, ask: Ask) -> tuple[int, Answer]:
        is_second = ask.path == "/b"
        took = 20_000_000 + self._dice.randrange(self._noise) + is_second * self._late
        return took, Answer(self._status, frozenset(), self._other if is_second else b"no")


def verdicts(line: FakeLine, *, count: int = 200) -> dict[str, str]:
    nowhere: Any = None
    trial = Trial(line, nowhere, Entropy(), count=count, bound_ns=BOUND, as_json=True)
    return {row["pair"]: row["verdict"] for row in trial.run({"pair": SAME})}


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


def test_the_command_measures_a_service_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set around it; too few samples are no verdict, and that is a negative finding."""
    monkeypatch.setenv("PAYYMO_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/nothing")
    done = CliRunner().invoke(payymo, ["prove", "timing", "--samples", "1", "--pair", "verify-expired", "--json"])
    assert done.exit_code == 1, done.output
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
        is_other_work = name.startswith(("verify", "refresh", "reset")) or name.removeprefix("login-") in IMPORTED
        assert is_other_work or first == second, name
