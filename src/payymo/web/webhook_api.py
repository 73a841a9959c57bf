"""`/api/admin/webhooks`: where events of one's own tenant are sent. The platform's own endpoints are the operator's."""

import uuid
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from payymo.web.caller import Caller
from payymo.web.routing import Input, Nothing, Output, route
from payymo.webhooks.model import (
    DESCRIPTION_MAX,
    EVENTS_AT_MOST,
    OVERLAP_MAX,
    OVERLAP_SECONDS,
    Delivery,
    Draft,
    Endpoint,
    draft_of,
)
from payymo.webhooks.service import Webhooks
from payymo.webhooks.targets import URL_MAX

Url = Annotated[str, Field(min_length=1, max_length=URL_MAX)]
Events = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=EVENTS_AT_MOST)
]
Description = Annotated[str, Field(max_length=DESCRIPTION_MAX)]


class NewWebhookBody(Input):
    """A new endpoint. `events`: types of events, or prefixes such as `session.`."""

    url: Url
    events: Events
    description: Description = ""
    personal: bool = False


class ChangeWebhookBody(Input):
    """What is different from now on."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    personal: bool | None = None
    enabled: bool | None = None


class RotateSecretBody(Input):
    """How long the secret that is there signs, too."""

    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_MAX)] = OVERLAP_SECONDS


class WebhookOut(Output):
    """An endpoint. Times are whole seconds since 1970."""

    id: uuid.UUID
    url: str
    events: list[str]
    description: str
    personal: bool
    enabled: bool
    certificate: str | None
    created_at: int
    last_success_at: int | None
    failing_since: int | None
    reason: str | None

    @classmethod
    def of(cls, found: Endpoint) -> "WebhookOut":
        """The endpoint, without its secret."""
        return cls(
            id=found.id,
            url=found.url,
            events=list(found.events),
            description=found.description,
            personal=found.wants_personal,
            enabled=found.is_enabled,
            certificate=found.certificate,
            created_at=found.created_at,
            last_success_at=found.last_success_at,
            failing_since=found.failing_since,
            reason=found.reason,
        )


class WebhooksOut(Output):
    """Every endpoint, the oldest first."""

    webhooks: list[WebhookOut]


class NewWebhookOut(Output):
    """A new endpoint, and its secret, which is told this once."""

    webhook: WebhookOut
    secret: str


class SecretOut(Output):
    """A signing secret, which is told this once."""

    secret: str


class TestOut(Output):
    """Whether the receiver has taken it; if not, why."""

    delivered: bool
    reason: str | None


class DeliveryOut(Output):
    """An event that was not taken. Times are whole seconds since 1970."""

    event_id: uuid.UUID
    type: str
    subject: str
    state: Literal["waiting", "given-up"]
    attempts: int
    due_at: int
    given_up_at: int | None
    reason: str | None

    @classmethod
    def of(cls, found: Delivery) -> "DeliveryOut":
        """The delivery."""
        return cls(
            event_id=found.event_id,
            type=found.type,
            subject=found.subject,
            state="waiting" if found.given_up_at is None else "given-up",
            attempts=found.attempts,
            due_at=found.due_at,
            given_up_at=found.given_up_at,
            reason=found.reason,
        )


class DeliveriesOut(Output):
    """What an endpoint has not taken, the oldest first; at most a thousand."""

    deliveries: list[DeliveryOut]


class WebhookApi:
    """The endpoints of one's own tenant."""

    def __init__(self, *, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    @route("GET", "/api/admin/webhooks", limit="default", authentication="bearer", permission="webhooks:read")
    def list_webhooks(self, caller: Caller) -> WebhooksOut:
        """List endpoints, the oldest first."""
        found = self._webhooks.list_endpoints(caller.principal.tenant_id)
        return WebhooksOut(webhooks=[WebhookOut.of(endpoint) for endpoint in found])

    @route(
        "POST", "/api/admin/webhooks", limit="default", authentication="bearer", permission="webhooks:write", status=201
    )
    def create_webhook(self, caller: Caller, body: NewWebhookBody) -> NewWebhookOut:
        """Create an endpoint, which gets what happens from now on."""
        draft = Draft(body.url, tuple(body.events), body.description, body.personal)
        tenant_id, by = caller.principal.tenant_id, caller.actor
        made, secret = self._webhooks.create(tenant_id, draft, by=by, trace=caller.trace)
        return NewWebhookOut(webhook=WebhookOut.of(made), secret=secret)

    @route(
        "GET",
        "/api/admin/webhooks/<uuid:webhook_id>",
        limit="default",
        authentication="bearer",
        permission="webhooks:read",
    )
    def get_webhook(self, caller: Caller, webhook_id: uuid.UUID) -> WebhookOut:
        """Show one endpoint."""
        return WebhookOut.of(self._webhooks.get(caller.principal.tenant_id, webhook_id))

    @route(
        "PATCH",
        "/api/admin/webhooks/<uuid:webhook_id>",
        limit="default",
        authentication="bearer",
        permission="webhooks:write",
    )
    def change_webhook(self, caller: Caller, webhook_id: uuid.UUID, body: ChangeWebhookBody) -> WebhookOut:
        """Change an endpoint; enable or disable it."""
        tenant_id, by, trace = caller.principal.tenant_id, caller.actor, caller.trace
        found = self._webhooks.get(tenant_id, webhook_id)
        draft = _changed(draft_of(found), body)
        if draft != draft_of(found):
            self._webhooks.change(tenant_id, webhook_id, draft, by=by, trace=trace)
        if body.enabled is not None and body.enabled != found.is_enabled:
            switch = self._webhooks.enable if body.enabled else self._webhooks.disable
            switch(tenant_id, webhook_id, by=by, trace=trace)
        return WebhookOut.of(self._webhooks.get(tenant_id, webhook_id))

    @route(
        "DELETE",
        "/api/admin/webhooks/<uuid:webhook_id>",
        limit="default",
        authentication="bearer",
        permission="webhooks:write",
    )
    def delete_webhook(self, caller: Caller, webhook_id: uuid.UUID) -> Nothing:
        """Delete an endpoint, with its secrets and what it has not taken."""
        self._webhooks.delete(caller.principal.tenant_id, webhook_id, by=caller.actor, trace=caller.trace)
        return Nothing()

    @route(
        "POST",
        "/api/admin/webhooks/<uuid:webhook_id>/secret",
        limit="default",
        authentication="bearer",
        permission="webhooks:write",
    )
    def rotate_secret(self, caller: Caller, webhook_id: uuid.UUID, body: RotateSecretBody) -> SecretOut:
        """Make another secret; the one before it signs, too, for a while."""
        secret = self._webhooks.rotate_secret(
            caller.principal.tenant_id,
            webhook_id,
            overlap_seconds=body.overlap_seconds,
            by=caller.actor,
            trace=caller.trace,
        )
        return SecretOut(secret=secret)

    @route(
        "POST",
        "/api/admin/webhooks/<uuid:webhook_id>/test",
        limit="default",
        authentication="bearer",
        permission="webhooks:write",
    )
    def test_webhook(self, caller: Caller, webhook_id: uuid.UUID) -> TestOut:
        """Send something at once."""
        failure = self._webhooks.test(caller.principal.tenant_id, webhook_id, trace=caller.trace)
        return TestOut(delivered=failure is None, reason=None if failure is None else failure.reason)

    @route(
        "GET",
        "/api/admin/webhooks/<uuid:webhook_id>/deliveries",
        limit="default",
        authentication="bearer",
        permission="webhooks:read",
    )
    def list_deliveries(self, caller: Caller, webhook_id: uuid.UUID) -> DeliveriesOut:
        """List what an endpoint has not taken."""
        found = self._webhooks.list_deliveries(caller.principal.tenant_id, webhook_id)
        return DeliveriesOut(deliveries=[DeliveryOut.of(delivery) for delivery in found])

    @route(
        "POST",
        "/api/admin/webhooks/<uuid:webhook_id>/events/<uuid:event_id>/redeliver",
        limit="default",
        authentication="bearer",
        permission="webhooks:write",
    )
    def redeliver(self, caller: Caller, webhook_id: uuid.UUID, event_id: uuid.UUID) -> Nothing:
        """Send an event again, whether it was taken or not."""
        tenant_id, by, trace = caller.principal.tenant_id, caller.actor, caller.trace
        self._webhooks.redeliver(tenant_id, webhook_id, event_id, by=by, trace=trace)
        return Nothing()


def _changed(draft: Draft, body: ChangeWebhookBody) -> Draft:
    events = draft.events if body.events is None else tuple(body.events)
    url = draft.url if body.url is None else body.url
    description = draft.description if body.description is None else body.description
    personal = draft.wants_personal if body.personal is None else body.personal
    return replace(draft, url=url, events=events, description=description, wants_personal=personal)
