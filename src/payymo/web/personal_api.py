"""`/api/auth/export` and the end of an account: what is stored of a person, handed out or erased."""

import uuid

from flask import Response

from payymo.sessions.personal import PersonalData
from payymo.web.caller import Caller
from payymo.web.routing import Output, route


class ErasedOut(Output):
    """In how many events on record something personal was erased. The user is gone, and their tokens are refused."""

    events: int


class PersonalApi:
    """The data of a person."""

    def __init__(self, *, personal: PersonalData) -> None:
        self._personal = personal

    @route("GET", "/api/auth/export", limit="default", authentication="bearer")
    def export_own_data(self, caller: Caller) -> Response:
        """Everything that is stored of oneself, as one JSON document."""
        who = caller.principal
        pieces = self._personal.export(who.tenant_id, who.user_id, reason="by-user", trace=caller.trace)
        response = Response(pieces, content_type="application/json")
        response.headers["Content-Disposition"] = 'attachment; filename="my-data.json"'
        return response

    @route(
        "DELETE",
        "/api/admin/users/<uuid:user_id>",
        limit="default",
        authentication="bearer",
        permission="users:write",
    )
    def erase_user(self, caller: Caller, user_id: uuid.UUID) -> ErasedOut:
        """Delete a user, and erase what is personal of them from what is on record. There is no way back."""
        tenant_id = caller.principal.tenant_id
        return ErasedOut(events=self._personal.erase(tenant_id, user_id, by=caller.actor, trace=caller.trace))
