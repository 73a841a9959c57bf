"""Prints for people: tables, and a bar while something takes its time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from payymo.cli.harmless import harmless

UNBOUNDED = 10_000


def print_facts(facts: Mapping[str, Any]) -> None:
    """One thing, in two columns."""
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, _text(value))
    _print(table)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Several things, one in each line."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(_text(row[column]) for column in columns))
    _print(table)


def print_page(sections: Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]]) -> None:
    """Several things under headings."""
    console = Console(soft_wrap=True, width=UNBOUNDED)
    for heading, found in sections.items():
        console.print(Text(heading, style="bold"))
        if isinstance(found, Mapping):
            table = Table(show_header=False, box=None, padding=(0, 2))
            for name, value in found.items():
                table.add_row(name, _told(name, value))
        else:
            table = Table(*(found[0] if found else ()), box=None, padding=(0, 2))
            for row in found:
                table.add_row(*(_told(name, value) for name, value in row.items()))
        console.print(table if table.row_count else Text("  none"))


def _told(name: str, value: Any) -> Text:
    if isinstance(value, Mapping):
        value = [f"{count} {what}" for what, count in value.items()]
    if value == []:
        value = None
    return _text(_moment(value) if name.endswith("_at") and isinstance(value, int) else value)


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error; see `output.counted`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as found:
        task = found.add_task(what, total=None)
        yield lambda done, total: found.update(task, completed=done, total=total)


def _print(table: Table) -> None:
    """As wide as it is: half an identifier is of no use to anybody."""
    Console(soft_wrap=True, width=UNBOUNDED).print(table)


def _text(value: Any) -> Text:
    """As it is: what users chose must not be read as markup."""
    if isinstance(value, Mapping):
        value = [f"{name}: {_text(inner)}" for name, inner in value.items()]
    if isinstance(value, list | tuple):
        return Text(harmless(", ".join(str(part) for part in value)))
    return Text("-" if value is None else harmless(str(value)))


def _moment(seconds: int) -> str:
    """A moment, as people read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
