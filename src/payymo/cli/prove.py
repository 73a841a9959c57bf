"""`payymo prove`: what the service promises, measured."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from payymo.app import create_app
from payymo.cli.common import as_json, politely, services
from payymo.cli.output import counted, show_all
from payymo.cli.timing_file import FORMAT, Head, SampleFile, kept
from payymo.cli.timing_lines import Answer, Http, Inside, Line
from payymo.cli.timing_pairs import PAIRS, Pair
from payymo.cli.timing_world import Ask, World, world
from payymo.compose import compose
from payymo.config import PREFIX, read_settings
from payymo.connections import open_engine
from payymo.db import migrate
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.logs import SecurityLog
from payymo.services import Services
from payymo.timing.gathering import Samples, gather
from payymo.timing.model import Finding, judge

QUICK_SAMPLES: Final = 500
WARM_UP: Final = 20
PLANTED: Final = "planted"
"""The name of the leak that the harness has to find: one class is slower by twice the bound."""
COLUMNS: Final = ("pair", "verdict", "samples", "shift_us", "from_us", "to_us", "strongest", "score", "same_answer")
LIMITED: Final = (
    "the service refuses with {status}: give it PAYYMO_LIMITS__ENABLED=false and PAYYMO_LOCKOUT__ENABLED=false while "
    "it is measured"
)
CLOSED: Final = "the service answers with {status}: what is to be measured is not looked at there"
FOLDER: Final = (
    "{names}: what comes of them goes by mail. Give the service and this command PAYYMO_MAIL__TRANSPORT=file:/folder: "
    "no server wants ten thousand letters, and without mail nobody is looked up. Or name other pairs with --pair"
)


@click.group()
def prove() -> None:
    """Measure what the service promises."""


@prove.command()
@click.option("--url", help="A running service; without it, one in this process with a database of its own.")
@click.option("--pair", "names", multiple=True, type=click.Choice(list(PAIRS)), help="Only this; may be repeated.")
@click.option("--samples", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True, help="Per class.")
@click.option("--bound-us", type=click.IntRange(1, 10_000_000), default=250, show_default=True)
@click.option("--quick", is_flag=True, help=f"{QUICK_SAMPLES} samples: whether it works, rather than whether it leaks.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Keep every sample in it."
)
@click.option("--resume", is_flag=True, help="Go on with the samples in FILE, if there are any.")
@as_json
@politely
def timing(
    *,
    url: str | None,
    names: tuple[str, ...],
    samples: int,
    bound_us: int,
    quick: bool,
    output: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Measure whether refusals can be told apart by time. Exits with 0 when no pair shows a leak within the bound.

    Ctrl-C ends it with what was measured until then. What was kept in a file goes on with --resume, also when killed.
    """
    if resume and output is None:
        raise click.UsageError("--resume goes on with a file: name it with --output")
    count, pairs = QUICK_SAMPLES if quick else samples, {name: PAIRS[name] for name in names or PAIRS}
    head = Head(FORMAT, "process" if url is None else "http", bound_us)
    with (
        kept(output, head, resume=resume) as file,
        _inside() if url is None else _outside(url, pairs) as (opened, line),
        world(opened) as found,
    ):
        trial = Trial(line, found, opened.entropy, file, count=count, bound_ns=bound_us * 1000, as_json=as_json)
        rows = trial.run(pairs)
    show_all(rows, COLUMNS, json_wanted=as_json)
    sys.exit(0 if all(row["verdict"].startswith("no leak") for row in rows) else 1)


class Trial:
    """One run over some pairs: gathers, judges, and believes nothing where the planted leak was not found."""

    def __init__(
        self,
        line: Line,
        found: World,
        entropy: Entropy,
        file: SampleFile,
        *,
        count: int,
        bound_ns: int,
        as_json: bool,
    ) -> None:
        self._line = line
        self._file = file
        self._world = found
        self._toss: Callable[[], bool] = lambda: entropy.bytes(1)[0] < 128
        self._count = count
        self._bound = bound_ns
        self._as_json = as_json

    def run(self, pairs: dict[str, Pair]) -> list[dict[str, Any]]:
        """A row for each pair, and the planted leak first. Where that is not found, nothing else is believed."""
        first = next(iter(pairs.values())).first
        control = self._row(PLANTED, first, first, late_ns=2 * self._bound)
        rows, is_going_on = [control], control.pop("is_complete")
        for name, pair in pairs.items() if is_going_on else ():
            row = self._row(name, pair.first, pair.second)
            rows.append(row)
            if not row.pop("is_complete"):
                break
        if control["verdict"] != "leak":
            for row in rows:
                row["verdict"] = "undecided"
        return rows[1:] if control["verdict"] == "leak" else rows

    def _row(
        self, name: str, first: Callable[[World], Ask], second: Callable[[World], Ask], *, late_ns: int = 0
    ) -> dict[str, Any]:
        one, other = _Class(self._line, first(self._world)), _Class(self._line, second(self._world), late_ns=late_ns)

        def is_same() -> bool:
            return len(one.answers | other.answers) <= 1 and self._file.is_same(name)

        with counted(name, as_json=self._as_json) as tell:

            def note(so_far: Samples) -> None:
                self._file.add(name, so_far, same=is_same())
                tell(len(so_far.first), self._count)

            samples = gather(
                one.measure,
                other.measure,
                count=self._count,
                warm_up=min(WARM_UP, self._count),
                toss=self._toss,
                tell=note,
                found=self._file.samples_of(name),
            )
        finding = judge(samples.first, samples.second, bound=self._bound)
        return _facts(name, finding, same=is_same()) | {"is_complete": samples.is_complete}


class _Class:
    """One class of requests: its samples, and the answers that it gets."""

    def __init__(self, line: Line, ask: Ask, *, late_ns: int = 0) -> None:
        self._line = line
        self._ask = ask
        self._late = late_ns
        self.answers: set[Answer] = set()

    def measure(self) -> int:
        """The nanoseconds of one request. Raises Misconfigured when the service is limited or fails."""
        took, answer = self._line.send(self._ask)
        if answer.status == 429 or answer.status >= 500:
            raise Misconfigured([LIMITED.format(status=answer.status)])
        if answer.status in {403, 404}:
            raise Misconfigured([CLOSED.format(status=answer.status)])
        self.answers.add(answer)
        return took + self._wait()

    def _wait(self) -> int:
        began = time.perf_counter_ns()
        while (waited := time.perf_counter_ns() - began) < self._late:
            pass
        return waited if self._late else 0


def _facts(name: str, finding: Finding, *, same: bool) -> dict[str, Any]:
    """A row. Answers that differ tell everything, however long they take."""
    shift, strongest = finding.shift, finding.strongest
    return {
        "pair": name,
        "verdict": finding.verdict if same else "leak",
        "samples": finding.samples,
        "shift_us": None if shift is None else round(shift.estimate / 1000, 1),
        "from_us": None if shift is None else round(shift.low / 1000, 1),
        "to_us": None if shift is None else round(shift.high / 1000, 1),
        "strongest": None if strongest is None else strongest.name,
        "score": None if strongest is None else round(strongest.value, 1),
        "same_answer": same,
    }


@contextmanager
def _inside() -> Iterator[tuple[Services, Line]]:
    """A service of its own, on SQLite in a folder that is gone afterwards. What is set around it does not count."""
    with tempfile.TemporaryDirectory(prefix="payymo-timing-") as folder, (Path(folder) / "log").open("w") as log:
        with _unset():
            settings = read_settings(
                data=folder,
                limits={"enabled": False},
                lockout={"enabled": False},
                mail={"transport": f"file:{folder}/mail"},  # written down, and taken nowhere
            )
        engine = open_engine(settings)
        migrate.upgrade(engine)
        engine.dispose()
        opened = compose(settings, log=SecurityLog(stream=log))
        try:
            yield opened, Inside(create_app(settings, services=opened).wsgi_app)
        finally:
            opened.close()


@contextmanager
def _unset() -> Iterator[None]:
    """No setting of the surroundings."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _outside(url: str, pairs: Mapping[str, Pair]) -> Iterator[tuple[Services, Line]]:
    """A running service, whose database is that of the settings: the users are made there."""
    with services() as opened:
        by_mail = [name for name, pair in pairs.items() if pair.by_mail]
        if by_mail and not (opened.settings.mail.way or "").startswith("file:"):
            raise Misconfigured([FOLDER.format(names=", ".join(by_mail))])
        if opened.settings.is_production:
            raise Misconfigured(["time is measured without limits, and so never in production: use a copy of it"])
        with closing(Http(url)) as line:
            yield opened, line
