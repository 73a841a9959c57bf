"""`/api/admin/users/…/impersonate`: an administrator acts as somebody else."""

import uuid
from typing import Annotated, Final, Literal

from pydantic import Field

from payymo.sessions.impersonation import PERMISSION, WHY_MAX, Impersonation, Wish
from payymo.web.caller import Caller
from payymo.web.door import Door
from payymo.web.models import Password
from payymo.web.pacing import PASSWORD_PROOF
from payymo.web.routing import Input, Output, route

_NO_LINE: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Controls, ends of lines, and what turns the direction of what follows: the log would be read otherwise."""
Why = Annotated[str, Field(min_length=1, max_length=WHY_MAX, pattern=rf"^[^{_NO_LINE}]*[^\s{_NO_LINE}][^{_NO_LINE}]*$")]
"""A line with something in it."""


class ImpersonateBody(Input):
    """Why; and the administrator's own password, unless their session has just begun."""

    why: Why
    current_password: Password | None = None


class ImpersonatedOut(Output):
    """An access token with which the administrator acts as the user, for `expires_in` seconds. None follows it."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme, not a secret
    expires_in: int
    session_id: uuid.UUID


class ImpersonationApi:
    """Acting as a user of one's own tenant."""

    def __init__(self, *, impersonation: Impersonation, door: Door) -> None:
        self._impersonation = impersonation
        self._door = door

    @route(
        "POST",
        "/api/admin/users/<uuid:user_id>/impersonate",
        limit="login",
        authentication="bearer",
        permission=PERMISSION,
        status=201,
        pace=PASSWORD_PROOF,
    )
    def impersonate(self, caller: Caller, user_id: uuid.UUID, body: ImpersonateBody) -> ImpersonatedOut:
        """Act as a user who may do no more than oneself. They are told, and see it in their sessions."""
        who = caller.principal
        wish = Wish(user_id, caller.actor, who.session_id, body.why, caller.trace)
        attempt = self._door.admit_change(caller)
        with self._door.trying(caller, attempt):
            made = self._impersonation.begin_with_token(who.tenant_id, wish, password=body.current_password)
        self._door.let_act(attempt, proven=body.current_password is not None)
        return ImpersonatedOut(access_token=made.access_token, expires_in=made.expires_in, session_id=made.session_id)
