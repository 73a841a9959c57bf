"""`payymo audit tail | search`: what happened, for people at a terminal; with `--json`, one event a line."""

import difflib
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import click

from payymo import __version__
from payymo.audit.entries import Entry, Filters
from payymo.audit.formats import write_line
from payymo.audit.reader import AuditReader
from payymo.cli.audit_logs import find_log, of_log, settle
from payymo.cli.common import as_json, find_tenant, find_user_id, politely, services
from payymo.cli.harmless import harmless
from payymo.errors import InvalidInput
from payymo.events import CATALOGUE
from payymo.logs import OUTCOMES, Outcome

LOOK_SECONDS = 1.0
moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.option("-n", "count", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@of_log
@as_json
@politely
def tail(*, count: int, follow: bool, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Print the newest events of a log, the newest last."""
    with services() as opened:
        log, reader = find_log(opened, tenant_slug, platform=platform), opened.audit_reader
        settle(opened)
        batches = reader.batches(log, Filters(), newest_first=True, at_most=max(count, 1))
        newest = [entry for batch in batches for entry in batch]
        for entry in reversed(newest[:count]):
            _print(entry, json_wanted=as_json)
        if follow:
            beyond = newest[0].position if newest else None
            try:
                for entry in followed(reader, log, beyond, pause=lambda: time.sleep(LOOK_SECONDS)):
                    _print(entry, json_wanted=as_json)
            except KeyboardInterrupt:
                return


@click.command()
@click.option("--actor", help="Who: user:ID, service:NAME, operator:NAME, system:DUTY, anonymous.")
@click.option(
    "--type",
    "type_",
    metavar="TYPE",
    callback=lambda _context, _option, text: require_type(text),
    help="One, such as session.login, or all that begin alike: session.",
)
@click.option("--user", metavar="USER", help="Whom it is about, by e-mail address or id.")
@click.option("--outcome", type=click.Choice(OUTCOMES))
@click.option("--since", type=moment, help="From then on, in UTC.")
@click.option("--before", type=moment, help="Until then, in UTC.")
@click.option("--oldest-first", is_flag=True)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many at most.")
@of_log
@as_json
@politely
def search(
    *,
    actor: str | None,
    type_: str | None,
    user: str | None,
    outcome: Outcome | None,
    since: datetime | None,
    before: datetime | None,
    oldest_first: bool,
    limit: int,
    tenant_slug: str | None,
    platform: bool,
    as_json: bool,
) -> None:
    """Print the events of a log that meet every condition, the newest first."""
    with services() as opened:
        log = find_log(opened, tenant_slug, platform=platform)
        settle(opened)
        user_id: uuid.UUID | None = None
        if user is not None:
            user_id = _read_id(user) or find_user_id(opened, find_tenant(opened, tenant_slug), user)
        filters = Filters(
            actor=actor,
            type=type_,
            user_id=user_id,
            outcome=outcome,
            since_ms=_in_ms(since),
            before_ms=_in_ms(before),
        )
        for batch in opened.audit_reader.batches(log, filters, newest_first=not oldest_first, at_most=limit):
            for entry in batch:
                _print(entry, json_wanted=as_json)


def require_type(text: str | None) -> str | None:
    """A type that can be on record. Raises BadParameter: a slip would find nothing, and say nothing."""
    recorded = [name for name, kind in CATALOGUE.items() if kind.is_recorded]
    beginnings = {f"{name.partition('.')[0]}." for name in recorded}
    if text is None or text in recorded or text in beginnings:
        return text
    alike = difflib.get_close_matches(text, [*beginnings, *recorded], n=1)
    meant = f" Did you mean {alike[0]}?" if alike else ""
    raise click.BadParameter(f"No event on record is of the type {text!r}.{meant} `payymo audit events` lists them.")


def followed(
    reader: AuditReader, log: uuid.UUID | None, beyond: int | None, *, pause: Callable[[], None]
) -> Iterator[Entry]:
    """What is on record after a position, and whatever comes, for ever."""
    while True:
        for batch in reader.batches(log, Filters(), beyond=beyond):
            yield from batch
            beyond = batch[-1].position
        pause()


def _print(entry: Entry, *, json_wanted: bool) -> None:
    if json_wanted:
        click.echo(write_line(entry, "jsonl", version=__version__))
        return
    record = entry.record
    when = datetime.fromtimestamp(record.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    facts = {**record.about, **(entry.personal or {})} | ({"personal": "erased"} if entry.is_erased else {})
    told = " ".join(f"{name}={value}" for name, value in facts.items())
    damage = "  DAMAGED" if entry.is_damaged else ""
    click.echo(harmless(f"{when}  {record.type:28}  {record.outcome:7}  {record.actor}  {told}{damage}"))


def _read_id(text: str) -> uuid.UUID | None:
    """Somebody who is gone has no address any more."""
    if "@" in text:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidInput(detail="--user: an e-mail address or an id") from None


def _in_ms(given: datetime | None) -> int | None:
    return None if given is None else int(given.replace(tzinfo=UTC).timestamp() * 1000)
