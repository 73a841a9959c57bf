"""What is stored of a person: changed by themselves, handed out, or erased at the end of their account."""

import uuid
from typing import Final

from flask import Response

from payymo.languages import Wish
from payymo.sessions.personal import PersonalData
from payymo.users.languages import Languages
from payymo.users.service import Users
from payymo.web.caller import Caller
from payymo.web.models import LanguageCode, UserOut
from payymo.web.routing import Input, Output, route

ERASED_AT_ONCE: Final = 5_000
"""Events in which something personal is erased while somebody waits: half a second."""


class ChangeMeBody(Input):
    """What a user may change of themselves without their password."""

    language: LanguageCode


class ErasedOut(Output):
    """In how many events on record something personal was erased. The user is gone, and their tokens are refused.

    `finished`: false when there may be more of them, which the service erases within a minute or so.
    """

    events: int
    finished: bool


class PersonalApi:
    """The data of a person."""

    def __init__(self, *, personal: PersonalData, users: Users, languages: Languages) -> None:
        self._personal = personal
        self._users = users
        self._languages = languages

    @route("PATCH", "/api/auth/me", limit="default", authentication="bearer")
    def change_me(self, caller: Caller, body: ChangeMeBody) -> UserOut:
        """Say in which language one would rather be written to."""
        who = caller.principal
        user, _ = self._users.get(who.tenant_id, who.user_id)
        self._languages.keep(user, Wish(body.language, is_chosen=True))
        return UserOut.of(*self._users.get(who.tenant_id, who.user_id))

    @route("GET", "/api/auth/export", limit="default", authentication="bearer", is_for_actors=False)
    def export_own_data(self, caller: Caller) -> Response:
        """Everything that is stored of oneself, as one JSON document."""
        who = caller.principal
        whole = self._personal.export_whole(who.tenant_id, who.user_id, reason="by-user", trace=caller.trace)
        response = Response(whole, content_type="application/json")  # all of it: or it is refused
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
        tenant_id, by, trace = caller.principal.tenant_id, caller.actor, caller.trace
        count = self._personal.erase(tenant_id, user_id, by=by, trace=trace, at_most=ERASED_AT_ONCE)
        return ErasedOut(events=count, finished=count < ERASED_AT_ONCE)
