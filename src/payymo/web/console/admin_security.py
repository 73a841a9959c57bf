"""`/admin/security`: what the tenant asks of new passwords; and what else protects its users, to be read."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from payymo.phrases import Phrase
from payymo.users.password_policy import SHORTEST, PasswordPolicy
from payymo.users.policies import PasswordPolicies
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input

SECURITY: Final = "/admin/security"
POLICY: Final = f"{SECURITY}/password-policy"


class PasswordPolicyForm(Input):
    """What the tenant asks of new passwords. `words`: one a line."""

    min_length: Annotated[int, Field(ge=SHORTEST, le=64)]
    max_length: Annotated[int, Field(ge=64, le=256)]
    min_score: Annotated[int, Field(ge=0, le=4)]
    complexity_classes: Annotated[int, Field(ge=0, le=4)]
    words: Annotated[str, Field(max_length=6_000)] = ""

    def policy(self) -> PasswordPolicy:
        """The policy. Raises InvalidInput."""
        words = tuple(dict.fromkeys(line.strip() for line in self.words.splitlines() if line.strip()))
        return PasswordPolicy(self.min_length, self.max_length, self.min_score, self.complexity_classes, words)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long things live. In seconds."""

    console_idle: int
    console_session: int
    access_token: int
    refresh_token: int
    session: int

    def lines(self) -> list[tuple[str, int]]:
        """What each is."""
        return [
            (Phrase("Signed in here, unused"), self.console_idle),
            (Phrase("Signed in here, at most"), self.console_session),
            (Phrase("Access token of a program"), self.access_token),
            (Phrase("Refresh token of a program, unused"), self.refresh_token),
            (Phrase("Session of a program, at most"), self.session),
        ]


@dataclass(frozen=True, slots=True)
class Lockout:
    """What somebody meets who tries passwords. None of it: it is off."""

    failures: int
    first_wait: int
    longest_wait: int
    stop: int


@dataclass(frozen=True, slots=True)
class Protection:
    """What the service's settings say, for everybody to read who may read policies."""

    registration_is_open: bool
    verification_is_required: bool
    mail_is_on: bool
    lockout: Lockout | None
    lifetimes: Lifetimes
    limits_of: Callable[[uuid.UUID], Mapping[str, str]]
    """The limits that hold for a tenant, by class of requests; empty: lifted."""
    sender_of: Callable[[uuid.UUID], str]
    """In whose name its mail goes out."""


class AdminSecurityDesk:
    """The security of one's own tenant."""

    def __init__(self, *, policies: PasswordPolicies, protection: Protection) -> None:
        self._policies = policies
        self._protection = protection

    @page("GET", SECURITY, permission="policies:read")
    def show(self, visit: Visit) -> Answer:
        """Show the policy, to be changed, and the settings."""
        policy, is_own = self._policies.get(visit.tenant_id)
        found = self._protection
        facts = {
            "policy": policy,
            "default": self._policies.default,
            "is_own": is_own,
            "may_write": visit.may("policies:write"),
            "protection": found,
            "limits": found.limits_of(visit.tenant_id),
            "sender": found.sender_of(visit.tenant_id) if found.mail_is_on else None,
        }
        return Sheet("admin_security.html", facts)

    @page("POST", POLICY, permission="policies:write", is_dangerous=True, refused="show")
    def set_policy(self, visit: Visit, form: PasswordPolicyForm) -> Answer:
        """Ask this of new passwords. Those that exist stay as they are."""
        self._policies.set(visit.tenant_id, form.policy(), by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(SECURITY, "saved")

    @page("POST", f"{POLICY}/default", permission="policies:write", is_dangerous=True, refused="show")
    def reset_policy(self, visit: Visit) -> Answer:
        """Ask what the service does."""
        self._policies.set(visit.tenant_id, None, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(SECURITY, "policy-default")
