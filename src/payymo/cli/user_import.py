"""`payymo user import`: users of another system, from a file."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, get_args

import click

from payymo.cli.common import CONSOLE, as_json, find_tenant, of_tenant, politely, services
from payymo.cli.harmless import harmless
from payymo.cli.output import counted, show
from payymo.errors import InvalidInput, Misconfigured
from payymo.users.import_file import Format, Line, LineRefused, header_of, read_lines
from payymo.users.imports import Outcome, Summary

SHOWN = 100
"""Failed lines that the JSON answer holds. All of them are in the file of `--rejects`."""
Refuse = Callable[[Line, LineRefused], None]
a_file = click.Path(exists=True, dir_okay=False, path_type=Path)
a_new_file = click.Path(dir_okay=False, path_type=Path)


@click.command(name="import")
@click.argument("file", type=a_file)
@click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), help="Without it, by the name: .csv, else JSON lines."
)
@click.option("--rejects", type=a_new_file, help="Where lines that fail are put, for their owner alone to read.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@of_tenant
@as_json
@politely
def import_users(
    *, file: Path, form: Format | None, rejects: Path | None, dry_run: bool, tenant_slug: str | None, as_json: bool
) -> None:
    """Import users with the password hashes of another system. A run that was killed can be run again.

    One JSON object per line, or CSV whose first line names the columns: email, username, password_hash, and maybe roles
    (separated by blanks in CSV) and status. See docs/operations/passwords.md for the hashes.
    """
    if not file.is_file():
        raise InvalidInput(detail=f"{file}: not a file, and it is read twice: put what comes from there into one first")
    found_form: Format = form or ("csv" if file.suffix.lower() == ".csv" else "json")
    shown: list[dict[str, object]] = []
    with ExitStack() as held:
        opened = held.enter_context(services())
        tenant = find_tenant(opened, tenant_slug)
        source = held.enter_context(file.open("rb"))
        reject = held.enter_context(_rejected(rejects, file, found_form))  # last: it empties what was there before
        total = _count_lines(file)

        def refuse(line: Line, reason: LineRefused) -> None:
            reject(line, reason)
            click.echo(f"payymo: line {line.number}: {harmless(str(reason))}", err=True)
            if len(shown) < SHOWN:
                shown.append({"line": line.number, "reason": str(reason)})

        with counted("reading lines", as_json=as_json) as progress:
            summary = opened.user_import.run(
                tenant.id,
                read_lines(source, found_form),
                by=None,
                trace=CONSOLE,
                dry_run=dry_run,
                progress=lambda number: progress(number, total),
                refuse=refuse,
            )
    _conclude(summary, shown, dry_run=dry_run, as_json=as_json)


def _conclude(summary: Summary, shown: list[dict[str, object]], *, dry_run: bool, as_json: bool) -> None:
    facts: dict[str, object] = {name: summary.lines[name] for name in (*get_args(Outcome), "failed")}
    facts["dry_run"] = dry_run
    if as_json:
        facts |= {"schemes": summary.schemes, "errors": shown}
    else:
        facts["schemes"] = [f"{scheme} ({count})" for scheme, count in summary.schemes.most_common()]
    show(facts, json_wanted=as_json)
    sys.exit(1 if summary.lines["failed"] else 0)


@contextmanager
def _rejected(path: Path | None, source: Path, form: Format) -> Iterator[Refuse]:
    """What keeps the lines that failed, as they were, in a file that nobody else can read: there are hashes in it."""
    if path is None:
        yield lambda _, __: None
        return
    if path.exists() and path.samefile(source):
        raise InvalidInput(detail="--rejects: another file than the one that is imported")
    with _private(path) as file, source.open("rb") as beginning:
        file.write(header_of(beginning, form))

        def reject(line: Line, _: LineRefused) -> None:
            file.write(line.text.rstrip(b"\r\n") + b"\n")

        yield reject


def _private(path: Path) -> BinaryIO:
    """A new file, or an emptied one, of its owner alone. Raises Misconfigured."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise Misconfigured([f"{path}: can't be written ({error.strerror})"]) from None
    return os.fdopen(descriptor, "wb")


def _count_lines(path: Path) -> int:
    """How many lines there are, read in pieces."""
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(2**20), b""))
