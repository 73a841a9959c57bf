"""`payymo session`: list and end a user's sessions."""

import uuid
from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, find_user_id, of_tenant, politely, services
from payymo.cli.output import show, show_all
from payymo.sessions.model import Session

COLUMNS = ("id", "started_at", "last_seen_at", "expires_at", "address", "user_agent")


@click.group()
def session() -> None:
    """Look at sessions and end them."""


def _facts(found: Session) -> dict[str, Any]:
    return {name: getattr(found, name) for name in COLUMNS}


@session.command(name="list")
@click.argument("user")
@of_tenant
@as_json
@politely
def list_all(*, user: str, tenant_slug: str | None, as_json: bool) -> None:
    """List the living sessions of USER (e-mail address or id). Times are seconds since 1970."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        found = opened.sessions.list_sessions(tenant.id, find_user_id(opened, tenant, user))
    show_all([_facts(one) for one in found], COLUMNS, json_wanted=as_json)


@session.command()
@click.argument("user")
@click.argument("session_id", required=False, type=click.UUID)
@confirmed
@of_tenant
@as_json
@politely
def end(*, user: str, session_id: uuid.UUID | None, yes: bool, tenant_slug: str | None, as_json: bool) -> None:
    """End one session of USER, or all of them."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        user_id = find_user_id(opened, tenant, user)
        ask(f"End {'this session' if session_id else 'every session'} of {user!r}?", yes=yes)
        if session_id is None:
            count = opened.administration.end_sessions(tenant.id, user_id, by=None, trace=CONSOLE)
        else:
            opened.administration.end_session(tenant.id, user_id, session_id, by=None, trace=CONSOLE)
            count = 1
    show({"ended": count}, json_wanted=as_json)
