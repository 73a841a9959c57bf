"""`payymo audit prove | consistency | check-proof | checkpoint | keys`: what others can check without us."""

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from payymo.audit.damage import LogsDamaged
from payymo.audit.notes import VerifierKey, parse_keys
from payymo.audit.proofs import check
from payymo.audit.refusals import Refused
from payymo.audit.vouching import Revoked
from payymo.cli.audit_logs import find_log, of_log, settle
from payymo.cli.common import CONSOLE, as_json, politely, services
from payymo.cli.output import show
from payymo.errors import Misconfigured, NotFound
from payymo.services import Services

a_file = click.Path(exists=True, dir_okay=False, path_type=Path)
a_new_file = click.Path(dir_okay=False, path_type=Path)
into_file = click.option("-o", "--output", type=a_new_file, metavar="FILE", help="Into this file.")


def read_keys(files: Sequence[Path]) -> tuple[VerifierKey, ...]:
    """The keys in these files. Exits with 2 when one can't be read, or there are none."""
    try:
        keys = tuple(key for file in files for key in parse_keys(file.read_text("utf-8")))
    except (Refused, UnicodeDecodeError) as error:
        raise click.UsageError(f"--key: {error}") from None
    if not keys:
        raise click.UsageError("--key: there is no key in it")
    return keys


@click.command()
@click.argument("event", type=click.UUID)
@of_log
@click.option("--disclose", is_flag=True, help="Show what is personal in it, too. That goes on record.")
@into_file
@as_json
@politely
def prove(
    *, event: uuid.UUID, tenant_slug: str | None, platform: bool, disclose: bool, output: Path | None, as_json: bool
) -> None:
    """Prove that an event is on record: a file that is checked with the keys of the log and nothing else.

    It is a C2SP tlog-proof. The record is in it.
    """
    _require_new(output)
    with _signed() as opened:
        log = find_log(opened, tenant_slug, platform=platform)
        proving = opened.proving
        found = proving.disclose(log, event, trace=CONSOLE) if disclose else proving.prove(log, event)
    _hand_out(found.encode(), {"index": found.index, "record": found.record.decode()}, output, as_json=as_json)


@click.command()
@click.argument("file", type=a_file)
@into_file
@as_json
@politely
def consistency(*, file: Path, output: Path | None, as_json: bool) -> None:
    """Prove that a log has only grown since the checkpoint in FILE."""
    _require_new(output)
    try:
        with _signed() as opened:
            found = opened.proving.prove_consistency(file.read_bytes())
    except (Refused, Revoked) as refusal:
        click.echo(f"payymo: {file}: {refusal}", err=True)
        sys.exit(1)
    _hand_out(found.encode(), {}, output, as_json=as_json)


@click.command(name="check-proof")
@click.argument("file", type=a_file)
@click.option("--key", "key_files", type=a_file, metavar="FILE", multiple=True, required=True, help="Keys of the log.")
@as_json
def check_proof(*, file: Path, key_files: tuple[Path, ...], as_json: bool) -> None:
    """Check a proof, and say what it shows. Needs neither settings nor a database. Exits with 1 when it shows nothing.

    Keys are kept from `payymo audit keys`; those of witnesses can stand beside them.
    """
    try:
        keys = read_keys(key_files)
        facts = check(file.read_bytes(), keys).facts() | {"valid": True}
    except Refused as refusal:
        show({"valid": False, "reason": refusal.reason, "detail": str(refusal)}, json_wanted=as_json)
        sys.exit(1)
    show(facts, json_wanted=as_json)


@click.command()
@of_log
@into_file
@as_json
@politely
def checkpoint(*, tenant_slug: str | None, platform: bool, output: Path | None, as_json: bool) -> None:
    """Print the newest signed head of a log, after everything that has been committed is in it.

    It is a signed note (C2SP tlog-checkpoint). Keep it where nobody who can write to the database can.
    """
    _require_new(output)
    with _signed() as opened:
        log = find_log(opened, tenant_slug, platform=platform)
        found = opened.checkpoints.newest(log)
    if found is None:
        raise NotFound("Nothing is on record in this log yet.")
    if output is not None:
        _write_new(output, found.note.encode())
    facts = {"size": found.size, "created_at": found.created_at, "note": found.note}
    if as_json:
        show(facts, json_wanted=True)
    elif output is None:
        click.echo(found.note, nl=False)


@click.command()
@of_log
@click.option("--all", "wants_all", is_flag=True, help="Of every log that there is.")
@as_json
@politely
def keys(*, tenant_slug: str | None, platform: bool, wants_all: bool, as_json: bool) -> None:
    """Print the public keys that sign a log, or have: one a line, as transparency-log tools read them."""
    with services() as opened:
        logs = opened.verification.list_logs() if wants_all else (find_log(opened, tenant_slug, platform=platform),)
        found = [
            str(key)
            for log in logs
            for name in opened.checkpoints.names(log)
            for key in opened.checkpoints.verifier_keys(log, origin=name)
        ]
    if as_json:
        show({"keys": found}, json_wanted=True)
    else:
        click.echo("\n".join(found))


@contextmanager
def _signed() -> Iterator[Services]:
    """The service, with everything that has been committed in its log, and the log signed."""
    with services() as opened:
        settle(opened)
        try:
            opened.checkpoints.sign_due(at_once=True)
        except LogsDamaged as error:  # the others are as good as ever, and of these there is what was signed before
            click.echo(f"payymo: {error.private}", err=True)
        yield opened


def _require_new(path: Path | None) -> None:
    """Raise Misconfigured when the file is there: what was kept is not written over, for it may be all that tells."""
    if path is not None and path.is_file():
        raise Misconfigured([f"{path}: is there already: name another"])


def _write_new(path: Path, data: bytes) -> None:
    """Into a file that was not there; or to a device, such as standard output."""
    _require_new(path)
    with path.open("wb" if path.exists() else "xb") as file:
        file.write(data)


def _hand_out(data: bytes, facts: Mapping[str, Any], output: Path | None, *, as_json: bool) -> None:
    """Into the file, if one was named, and onto the screen otherwise."""
    if output is not None:
        _write_new(output, data)
    if as_json:
        show({**facts, "proof": data.decode()}, json_wanted=True)
    elif output is None:
        click.echo(data.decode(), nl=False)
