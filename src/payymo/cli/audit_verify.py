"""`payymo audit verify`: whether the log is what was recorded."""

import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from payymo.audit.findings import Finding, Report
from payymo.audit.notes import Checkpoint, Note
from payymo.audit.refusals import Refused
from payymo.audit.verification import Question
from payymo.audit.vouching import Revoked, Vouched, Vouchers, log_of, split_notes
from payymo.cli.audit_logs import find_log, of_any_log
from payymo.cli.audit_proofs import a_file, read_keys
from payymo.cli.common import as_json, politely, services
from payymo.cli.harmless import harmless
from payymo.cli.output import counted, show, show_all
from payymo.services import Services

COLUMNS = ("log", "verdict", "first", "last", "detail", "checked", "signed", "outside")
UNREADABLE = {"note_malformed", "checkpoint_malformed", "key_malformed", "key_unsupported", "key_ambiguous"}


@dataclass(slots=True)
class Given:
    """Checkpoints from outside, by their log; and what is wrong with the others."""

    of_log: dict[uuid.UUID | None, list[Vouched]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def of(self, log: uuid.UUID | None) -> list[Vouched]:
        """Those of a log, the smallest first."""
        return sorted(self.of_log.get(log, []), key=lambda vouched: vouched.size)


@click.command()
@of_any_log
@click.option("--all", "wants_all", is_flag=True, help="Every log that there is: what is done where none is named.")
@click.option("--since", type=a_file, metavar="FILE", help="Only what came after the checkpoint in this file.")
@click.option("--checkpoint", "files", type=a_file, metavar="FILE", multiple=True, help="Checkpoints that you kept.")
@click.option("--key", "key_files", type=a_file, metavar="FILE", multiple=True, help="The keys that you kept.")
@click.option("--personal", is_flag=True, help="Open what is personal, too, and hold it against its commitment.")
@as_json
@politely
def verify(
    *,
    tenant_slug: str | None,
    platform: bool,
    wants_all: bool,
    since: Path | None,
    files: tuple[Path, ...],
    key_files: tuple[Path, ...],
    personal: bool,
    as_json: bool,
) -> None:
    """Check that nothing on record was changed, and say where it was. Exits with 0 when all of it is intact.

    Without a checkpoint from outside of the database it can't tell whether the log was cut off at an older signed
    head. Ctrl-C ends it with what was found until then.
    """
    if wants_all and (platform or tenant_slug is not None):
        raise click.UsageError("--all, or --tenant, or --platform")
    keys = read_keys(key_files) if key_files else None
    with services() as opened:
        vouchers = opened.checkpoints.vouchers(keys)
        begun, given = _read_given([since] if since else [], vouchers), _read_given(files, vouchers)
        if platform or tenant_slug is not None:
            logs = [find_log(opened, tenant_slug, platform=platform)]
        elif since is not None and not files:
            logs = list(begun.of_log)
        else:
            logs = list(dict.fromkeys([*opened.verification.list_logs(), *begun.of_log, *given.of_log]))
        questions = [_question(log, begun.of(log), given.of(log), personal=personal) for log in logs]
        reports = _verify(opened, questions, vouchers, as_json=as_json)
    refused = begun.refused + given.refused
    _show(reports, refused, as_json=as_json)
    sys.exit(0 if reports and all(report.is_intact for report in reports) and not refused else 1)


def _question(log: uuid.UUID | None, begun: Sequence[Vouched], given: Sequence[Vouched], *, personal: bool) -> Question:
    return Question(log, (*begun, *given), begun[-1] if begun else None, personal)


def _verify(opened: Services, questions: Sequence[Question], vouchers: Vouchers, *, as_json: bool) -> list[Report]:
    """A report for each log, until one is interrupted."""
    sizes = [opened.verification.count(question.log) for question in questions]
    reports: list[Report] = []
    with counted("events", as_json=as_json) as tell:
        for number, question in enumerate(questions):
            before = sum(sizes[:number])
            report = opened.verification.verify(question, vouchers, _telling(tell, before, sum(sizes)))
            reports.append(report)
            if not report.is_complete:
                break
    return reports


def _telling(tell: Callable[[int, int | None], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _of: tell(before + done, max(total, before + done))


def _show(reports: Sequence[Report], refused: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {"logs": [report.facts() for report in reports], "refused_checkpoints": list(refused)}
        show(facts, json_wanted=True)
        return
    show_all([row for report in reports for row in _rows(report)], COLUMNS, json_wanted=False)
    for why in refused:
        click.echo(f"refused: {harmless(why)}")
    for caveat in dict.fromkeys(caveat for report in reports for caveat in report.caveats()):
        click.echo(f"Not promised: {harmless(caveat)}.")


def _rows(report: Report) -> list[dict[str, Any]]:
    """One for each finding; one for a log without any."""
    common = {"log": report.origin, "checked": report.checked, "signed": report.signed, "outside": report.outside}
    found: Sequence[Finding | None] = report.findings or (None,)
    return [
        common | {"verdict": report.verdict, "first": None, "last": None, "detail": None}
        if finding is None
        else common | {"verdict": finding.kind} | finding.facts()
        for finding in found
    ]


def _read_given(files: Iterable[Path], vouchers: Vouchers) -> Given:
    """The checkpoints in these files, many in one as a destination keeps them. Exits with 2 when one can't be read."""
    found = Given()
    for file in files:
        with file.open("rb") as lines:
            for note in split_notes(lines):
                try:
                    log = log_of(Checkpoint.parse(Note.parse(note).text).origin)
                    opened = vouchers.open(note, log)
                except Refused as refusal:
                    if refusal.reason in UNREADABLE:
                        raise click.UsageError(f"{file}: {refusal}") from None
                    found.refused.append(f"{file}: {refusal}")
                except Revoked:
                    found.refused.append(f"{file}: signed by a key that somebody else may have: it proves nothing")
                else:
                    found.of_log.setdefault(log, []).append(Vouched(opened.size, opened.root, is_outside=True))
    return found
