"""`payymo audit export`: a log as a file, for programs that collect events. It can be killed, and go on."""

import fcntl
import os
import uuid
from pathlib import Path
from typing import BinaryIO, Final, get_args

import click

from payymo import __version__
from payymo.audit.entries import Filters
from payymo.audit.formats import Format, read_place, write_line
from payymo.audit.reader import AuditReader
from payymo.cli.audit_logs import find_log, of_log, settle
from payymo.cli.common import as_json, politely, services
from payymo.cli.output import counted, show
from payymo.errors import Misconfigured, NotFound

TAIL_BYTES: Final = 256 * 1024
"""More than the longest line."""
ELSEWHERE: Final = "the file does not end with an event of this log in this format: begin another file"


@click.command()
@click.option("--format", "form", type=click.Choice(get_args(Format)), default="jsonl", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE")
@click.option("--resume", is_flag=True, help="Go on behind the last event in FILE, if there is one.")
@of_log
@as_json
@politely
def export(*, form: Format, output: Path, resume: bool, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Write a log to FILE, the oldest event first: JSON lines, CEF (ArcSight) or OCSF.

    What was killed goes on with --resume, without a gap and without repeating anything; later, it adds what is new.
    """
    with services() as opened:
        log = find_log(opened, tenant_slug, platform=platform)
        settle(opened)
        done = 0
        with _open(output, resume=resume) as file, counted(f"exporting to {output}", as_json=as_json) as progress:
            beyond = _find_end(file, form, opened.audit_reader, log)
            for batch in opened.audit_reader.batches(log, Filters(), beyond=beyond):
                lines = "".join(f"{write_line(entry, form, version=__version__)}\n" for entry in batch)
                file.write(lines.encode())
                progress(done := done + len(batch), None)
            file.flush()
            os.fsync(file.fileno())
    show({"file": output, "events": done}, json_wanted=as_json)


def _open(path: Path, *, resume: bool) -> BinaryIO:
    """To be written by nobody else meanwhile. Raises Misconfigured."""
    try:
        file = path.open("r+b" if resume and path.exists() else "xb+")
    except FileExistsError:
        raise Misconfigured([f"{path}: is there already: --resume goes on with it, or name another"]) from None
    except OSError as error:
        raise Misconfigured([f"{path}: {error.strerror}"]) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Misconfigured([f"{path}: another export is writing it: let that end"]) from None
    return file


def _find_end(file: BinaryIO, form: Format, reader: AuditReader, log: uuid.UUID | None) -> int | None:
    """The position of the last whole line; what was begun behind it is cut off. None: there is none. Raises NotFound.

    It has to be the event that is there in this log: else nobody would notice a gap.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    whole, newline, begun = file.read().rpartition(b"\n")
    if not size:
        return None
    try:
        place = read_place(whole.rpartition(b"\n")[2].decode(), form)
    except ValueError:
        raise NotFound(ELSEWHERE) from None
    entry = reader.find(log, place.id)
    if not newline or entry is None or entry.position != place.position:
        raise NotFound(ELSEWHERE)
    file.truncate(size - len(begun))
    file.seek(0, os.SEEK_END)
    return place.position
