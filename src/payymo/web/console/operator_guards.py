"""`/operator/guards`: who follows the revocation feed, and what services prove themselves with."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

from pydantic import Field

from payymo.clock import Clock
from payymo.errors import NotFound
from payymo.guards.model import SCOPES, Follower, Scope, ServiceCredential, Standing, standing_of
from payymo.guards.service import DAYS_AT_MOST, DEFAULT_DAYS, Guards
from payymo.roles.service import authority_of
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input

GUARDS: Final = "/operator/guards"
FOLLOWERS_SHOWN: Final = 200


class CredentialForm(Input):
    """A new credential."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    scopes: Annotated[tuple[Scope, ...], Field(max_length=len(SCOPES))] = ()
    days: Annotated[int, Field(ge=1, le=DAYS_AT_MOST)] = DEFAULT_DAYS


@dataclass(frozen=True, slots=True)
class Following:
    """Who follows, and how well."""

    follower: Follower
    lag: int
    standing: Standing


class GuardsDesk:
    """The services of the operator's."""

    def __init__(self, *, guards: Guards, clock: Clock) -> None:
        self._guards = guards
        self._clock = clock

    @page("GET", GUARDS, permission="platform:read")
    def list_guards(self, visit: Visit) -> Answer:
        """Show who follows the feed, the furthest behind first, and every credential."""
        now, lags = self._clock(), self._guards.list_lags()
        found = [Following(follower, lag, standing_of(follower, lag, now)) for follower, lag in lags]
        found.sort(key=lambda one: (one.standing == "current", -one.lag, one.follower.last_seen_at))
        facts = {
            "following": found[:FOLLOWERS_SHOWN],
            "left_out": max(0, len(found) - FOLLOWERS_SHOWN),
            "credentials": [(one, one.state(now)) for one in self._guards.list_credentials()],
            "may_write": visit.may("platform:write"),
        }
        return Sheet("operator_guards.html", facts)

    @page("GET", f"{GUARDS}/new", permission="platform:read", is_dangerous=True)
    def show_create(self, visit: Visit) -> Answer:
        """Ask for what makes a credential."""
        chosen = visit.tried.values.get("scopes", ("feed",) if not visit.tried.values else ())
        facts = {"scopes": SCOPES, "chosen": chosen, "days": DEFAULT_DAYS, "days_at_most": DAYS_AT_MOST}
        return Sheet("operator_credential_new.html", facts)

    @page("POST", f"{GUARDS}/new", permission="platform:write", is_dangerous=True, refused="show_create")
    def create(self, visit: Visit, form: CredentialForm) -> Answer:
        """Make a credential, and show it: nobody can show it again."""
        caller = visit.caller
        permit = partial(authority_of, caller.actor)
        made = self._guards.create(form.name, scopes=form.scopes, days=form.days, permit=permit, trace=caller.trace)
        return Sheet("operator_credential.html", {"credential": made.credential, "text": made.text}, 201)

    @page("GET", f"{GUARDS}/<string:name>/revoke", permission="platform:read", is_dangerous=True)
    def show_revoke(self, visit: Visit, name: str) -> Answer:
        """Say what ends, and ask."""
        del visit
        return Sheet("operator_credential_revoke.html", {"credential": self._find(name)})

    @page(
        "POST", f"{GUARDS}/<string:name>/revoke", permission="platform:write", is_dangerous=True, refused="show_revoke"
    )
    def revoke(self, visit: Visit, name: str) -> Answer:
        """Refuse a credential from now on."""
        permit = partial(authority_of, visit.caller.actor)
        self._guards.revoke(self._find(name).name, permit=permit, trace=visit.caller.trace)
        return Onward(GUARDS, "credential-revoked")

    def _find(self, name: str) -> ServiceCredential:
        """The one of this name that is not revoked. Raises NotFound."""
        of_name = (one for one in self._guards.list_credentials() if one.name == name and one.revoked_at is None)
        found = next(of_name, None)
        if found is None:
            raise NotFound("There is no such service credential.")
        return found
