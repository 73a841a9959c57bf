"""`payymo webhook`: where events of a tenant, or of the platform, are sent."""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, of_tenant, politely, services
from payymo.cli.output import show, show_all
from payymo.services import Services
from payymo.webhooks.model import OVERLAP_SECONDS, Draft, Endpoint, draft_of

COLUMNS = ("id", "url", "events", "enabled", "last_success_at", "failing_since", "reason")
WAITING = ("event_id", "type", "subject", "attempts", "due_at", "given_up_at", "reason")
Command = Callable[..., None]

of_endpoint = click.argument("webhook_id", type=click.UUID)
with_events = click.option("--event", "events", multiple=True, metavar="TYPE", help="A type, or a prefix: session.")
with_certificate = click.option("--certificate", metavar="NAME", help="A client certificate that it is shown.")
with_description = click.option("--description", help="What it is for.")
with_personal = click.option("--personal/--no-personal", default=None, help="Send what is personal in events, too.")


def of_log(command: Command) -> Command:
    """Whose events: a tenant's, or the platform's."""
    platform = click.option("--platform", is_flag=True, help="The platform's own events, instead of a tenant's.")
    return of_tenant(platform(command))


@click.group()
def webhook() -> None:
    """Manage where events are sent, signed as https://www.standardwebhooks.com says."""


@webhook.command()
@click.argument("url")
@with_events
@with_description
@with_personal
@with_certificate
@of_log
@as_json
@politely
def create(
    *,
    url: str,
    events: tuple[str, ...],
    description: str | None,
    personal: bool | None,
    certificate: str | None,
    tenant_slug: str | None,
    platform: bool,
    as_json: bool,
) -> None:
    """Create an endpoint: payymo webhook create https://example.com/hooks --event session. Shows its secret, once."""
    draft = Draft(url, events, description or "", bool(personal), certificate)
    with _log(tenant_slug, platform=platform) as (opened, log):
        made, secret = opened.webhooks.create(log, draft, by=None, trace=CONSOLE)
    show(_facts(made) | {"secret": secret}, json_wanted=as_json)


@webhook.command(name="list")
@of_log
@as_json
@politely
def list_all(*, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """List endpoints, the oldest first. Times are seconds since 1970."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        rows = [_facts(found) for found in opened.webhooks.list_endpoints(log)]
    show_all(rows, COLUMNS, json_wanted=as_json)


@webhook.command(name="show")
@of_endpoint
@of_log
@as_json
@politely
def show_one(*, webhook_id: uuid.UUID, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Show an endpoint."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        found = opened.webhooks.get(log, webhook_id)
    show(_facts(found), json_wanted=as_json)


@webhook.command()
@of_endpoint
@click.option("--url", help="Where it is.")
@with_events
@with_description
@with_personal
@with_certificate
@of_log
@as_json
@politely
def change(
    *,
    webhook_id: uuid.UUID,
    url: str | None,
    events: tuple[str, ...],
    description: str | None,
    personal: bool | None,
    certificate: str | None,
    tenant_slug: str | None,
    platform: bool,
    as_json: bool,
) -> None:
    """Change what is named; `--certificate ""` for none."""
    given: dict[str, Any] = {"url": url, "description": description, "wants_personal": personal}
    changes = {name: value for name, value in given.items() if value is not None}
    if events:
        changes["events"] = events
    if certificate is not None:
        changes["certificate"] = certificate or None
    with _log(tenant_slug, platform=platform) as (opened, log):
        draft = replace(draft_of(opened.webhooks.get(log, webhook_id)), **changes)
        changed = opened.webhooks.change(log, webhook_id, draft, by=None, trace=CONSOLE)
    show(_facts(changed), json_wanted=as_json)


@webhook.command()
@of_endpoint
@of_log
@as_json
@politely
def test(*, webhook_id: uuid.UUID, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Send something at once. Exits with 1, and says why, when it is not taken."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        failure = opened.webhooks.test(log, webhook_id, trace=CONSOLE)
    reason = None if failure is None else failure.reason
    show({"delivered": failure is None, "reason": reason}, json_wanted=as_json)
    sys.exit(0 if failure is None else 1)


@webhook.command(name="rotate-secret")
@of_endpoint
@click.option("--overlap", "overlap_seconds", type=int, default=OVERLAP_SECONDS, show_default=True, metavar="SECONDS")
@of_log
@as_json
@politely
def rotate_secret(
    *, webhook_id: uuid.UUID, overlap_seconds: int, tenant_slug: str | None, platform: bool, as_json: bool
) -> None:
    """Make another secret, and show it, once. The one before it signs, too, for the overlap."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        secret = opened.webhooks.rotate_secret(log, webhook_id, overlap_seconds=overlap_seconds, by=None, trace=CONSOLE)
    show({"secret": secret}, json_wanted=as_json)


@webhook.command()
@of_endpoint
@of_log
@as_json
@politely
def enable(*, webhook_id: uuid.UUID, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Send again, from where it stopped."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        opened.webhooks.enable(log, webhook_id, by=None, trace=CONSOLE)
    show({"enabled": webhook_id}, json_wanted=as_json)


@webhook.command()
@of_endpoint
@of_log
@as_json
@politely
def disable(*, webhook_id: uuid.UUID, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Send nothing any more; what happens meanwhile is sent once it is enabled again."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        opened.webhooks.disable(log, webhook_id, by=None, trace=CONSOLE)
    show({"disabled": webhook_id}, json_wanted=as_json)


@webhook.command()
@of_endpoint
@confirmed
@of_log
@as_json
@politely
def delete(*, webhook_id: uuid.UUID, yes: bool, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Delete an endpoint, with its secrets and what it has not taken."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        found = opened.webhooks.get(log, webhook_id)
        ask(f"Delete the endpoint {found.url}, and what it has not taken?", yes=yes)
        opened.webhooks.delete(log, webhook_id, by=None, trace=CONSOLE)
    show({"deleted": webhook_id}, json_wanted=as_json)


@webhook.command()
@of_endpoint
@of_log
@as_json
@politely
def deliveries(*, webhook_id: uuid.UUID, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """List what an endpoint has not taken, the oldest first; at most a thousand. Times are seconds since 1970."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        rows = [asdict(found) for found in opened.webhooks.list_deliveries(log, webhook_id)]
    show_all(rows, WAITING, json_wanted=as_json)


@webhook.command()
@of_endpoint
@click.argument("event_id", type=click.UUID)
@of_log
@as_json
@politely
def redeliver(
    *, webhook_id: uuid.UUID, event_id: uuid.UUID, tenant_slug: str | None, platform: bool, as_json: bool
) -> None:
    """Have an event of the log sent again by the running service, whether it was taken or not."""
    with _log(tenant_slug, platform=platform) as (opened, log):
        opened.webhooks.redeliver(log, webhook_id, event_id, by=None, trace=CONSOLE)
    show({"due_again": event_id}, json_wanted=as_json)


@contextmanager
def _log(tenant_slug: str | None, *, platform: bool) -> Iterator[tuple[Services, uuid.UUID | None]]:
    if platform and tenant_slug is not None:
        raise click.UsageError("--platform and --tenant: one or the other")
    with services() as opened:
        yield opened, None if platform else find_tenant(opened, tenant_slug).id


def _facts(found: Endpoint) -> dict[str, Any]:
    facts = asdict(found)
    return {
        "id": facts.pop("id"),
        "enabled": facts.pop("is_enabled"),
        "personal": facts.pop("wants_personal"),
        **facts,
    }
