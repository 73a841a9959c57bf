"""Prints for programs (JSON), and hands to `tables` what is for people."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import click

from payymo.cli import loading


def show(facts: Mapping[str, Any], *, json_wanted: bool) -> None:
    """Print one thing: as JSON, or as a table of two columns."""
    if json_wanted:
        click.echo(json.dumps(facts, default=str))
    else:
        _tables().print_facts(facts)


def show_all(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, json_wanted: bool) -> None:
    """Print several things: as a JSON list, or as a table."""
    if json_wanted:
        click.echo(json.dumps(list(rows), default=str))
    else:
        _tables().print_rows(rows, columns)


def show_page(sections: Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]]) -> None:
    """Print several things under headings, for people: facts in two columns, lists as tables, moments as dates."""
    _tables().print_page(sections)


@contextmanager
def counted(what: str, *, as_json: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error, to be told how many of how many are done; None: nobody knows how many there are."""
    if as_json:
        yield lambda _done, _total: None
        return
    with _tables().bar(what) as tell:
        yield tell


def _tables() -> ModuleType:
    with loading("payymo.cli.tables"):
        from payymo.cli import tables  # noqa: PLC0415 - Rich loads slowly, and programs that read JSON don't need it
    return tables
