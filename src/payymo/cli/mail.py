"""`payymo mail`: what is not sent yet, another try, a test; and in whose name a tenant's mail goes out."""

import sys
import uuid
from dataclasses import asdict

import click

from payymo.cli.common import CONSOLE, as_json, find_tenant, of_tenant, politely, services
from payymo.cli.output import show, show_all
from payymo.errors import Conflict
from payymo.mail.model import Sender
from payymo.mail.transports import NotSent
from payymo.services import Services

COLUMNS = ("id", "kind", "user_id", "created_at", "due_at", "expires_at", "attempts", "failed_at", "reason")


@click.group()
def mail() -> None:
    """Look after the mail that is sent."""


@mail.command(name="list")
@of_tenant
@as_json
@politely
def list_all(*, tenant_slug: str | None, as_json: bool) -> None:
    """List what is not sent yet, the oldest first, without what it says. Times are seconds since 1970."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        rows = [asdict(found) for found in opened.outbox.list_waiting(tenant.id)]
    show_all(rows, COLUMNS, json_wanted=as_json)


@mail.command()
@click.argument("message_id", type=click.UUID, required=False)
@of_tenant
@as_json
@politely
def retry(*, message_id: uuid.UUID | None, tenant_slug: str | None, as_json: bool) -> None:
    """Try again what has failed and is still of use: one message, or all of the tenant's."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        count = opened.outbox.retry(tenant.id, message_id)
    show({"due_again": count}, json_wanted=as_json)


@mail.command()
@click.argument("address")
@of_tenant
@as_json
@politely
def test(*, address: str, tenant_slug: str | None, as_json: bool) -> None:
    """Send a mail at once. Exits with 1, and says why, when nobody takes it."""
    with services() as opened:
        _require_on(opened)
        tenant = find_tenant(opened, tenant_slug)
        sender = opened.outbox.sender_of(tenant.id)
        Sender(address, "-")  # refused politely, if it is no address
        try:
            opened.courier.send_test(address, tenant.id)
        except NotSent as failure:
            show({"sent": False, "reason": failure.reason}, json_wanted=as_json)
            sys.exit(1)
    show({"sent": True, "to": address, "from": f"{sender.name} <{sender.address}>"}, json_wanted=as_json)


@mail.group(invoke_without_command=False)
def sender() -> None:
    """In whose name a tenant's mail goes out."""


@sender.command(name="show")
@of_tenant
@as_json
@politely
def show_sender(*, tenant_slug: str | None, as_json: bool) -> None:
    """Show it."""
    with services() as opened:
        show(asdict(opened.outbox.sender_of(find_tenant(opened, tenant_slug).id)), json_wanted=as_json)


@sender.command(name="set")
@click.argument("address")
@click.option("--name", required=True, help="The name for people.")
@of_tenant
@as_json
@politely
def set_sender(*, address: str, name: str, tenant_slug: str | None, as_json: bool) -> None:
    """Let a tenant's mail go out in this name. The mail server has to accept it."""
    with services() as opened:
        found = Sender(address, name)
        opened.outbox.set_sender(find_tenant(opened, tenant_slug).id, found, trace=CONSOLE)
    show(asdict(found), json_wanted=as_json)


@sender.command()
@of_tenant
@as_json
@politely
def reset(*, tenant_slug: str | None, as_json: bool) -> None:
    """Let a tenant's mail go out in the service's name again."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        opened.outbox.set_sender(tenant.id, None, trace=CONSOLE)
        show(asdict(opened.outbox.sender_of(tenant.id)), json_wanted=as_json)


def _require_on(opened: Services) -> None:
    if not opened.outbox.is_on:
        raise Conflict("This service sends no mail: set PAYYMO_MAIL__HOST and PAYYMO_MAIL__SENDER.")
