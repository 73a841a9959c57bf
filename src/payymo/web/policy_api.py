"""`/api/admin/password-policy`: what one's own tenant asks of new passwords."""

from typing import Annotated, Literal

from pydantic import Field

from payymo.users.password_policy import SHORTEST, PasswordPolicy
from payymo.users.policies import PasswordPolicies
from payymo.web.caller import Caller
from payymo.web.routing import Input, Output, route


class PasswordPolicyBody(Input):
    """What a tenant asks of new passwords: lengths in characters, a score of zxcvbn, kinds of characters, words."""

    min_length: Annotated[int, Field(ge=SHORTEST, le=64)]
    max_length: Annotated[int, Field(ge=64, le=256)]
    min_score: Annotated[int, Field(ge=0, le=4)]
    complexity_classes: Annotated[int, Field(ge=0, le=4)]
    words: Annotated[list[Annotated[str, Field(min_length=3, max_length=50)]], Field(max_length=100)]

    def policy(self) -> PasswordPolicy:
        """The policy."""
        numbers = (self.min_length, self.max_length, self.min_score, self.complexity_classes)
        return PasswordPolicy(*numbers, tuple(self.words))


class PasswordPolicyOut(Output):
    """What is asked of new passwords, and whether the tenant or the settings say so."""

    min_length: int
    max_length: int
    min_score: int
    complexity_classes: int
    words: list[str]
    set_by: Literal["tenant", "settings"]

    @classmethod
    def of(cls, policy: PasswordPolicy, is_own: bool) -> "PasswordPolicyOut":  # noqa: FBT001 - as the policies answer
        """The policy."""
        return cls(
            min_length=policy.min_length,
            max_length=policy.max_length,
            min_score=policy.min_score,
            complexity_classes=policy.complexity_classes,
            words=list(policy.words),
            set_by="tenant" if is_own else "settings",
        )


class PolicyApi:
    """The policies of one's own tenant."""

    def __init__(self, *, policies: PasswordPolicies) -> None:
        self._policies = policies

    @route("GET", "/api/admin/password-policy", limit="default", authentication="bearer", permission="policies:read")
    def get_password_policy(self, caller: Caller) -> PasswordPolicyOut:
        """Show what is asked of new passwords."""
        return PasswordPolicyOut.of(*self._policies.get(caller.principal.tenant_id))

    @route("PUT", "/api/admin/password-policy", limit="default", authentication="bearer", permission="policies:write")
    def set_password_policy(self, caller: Caller, body: PasswordPolicyBody) -> PasswordPolicyOut:
        """Set what is asked of new passwords. Those that exist stay as they are."""
        tenant_id = caller.principal.tenant_id
        self._policies.set(tenant_id, body.policy(), by=caller.actor, trace=caller.trace)
        return PasswordPolicyOut.of(*self._policies.get(tenant_id))

    @route(
        "DELETE", "/api/admin/password-policy", limit="default", authentication="bearer", permission="policies:write"
    )
    def reset_password_policy(self, caller: Caller) -> PasswordPolicyOut:
        """Ask what the settings say again. Passwords that exist stay as they are."""
        tenant_id = caller.principal.tenant_id
        self._policies.set(tenant_id, None, by=caller.actor, trace=caller.trace)
        return PasswordPolicyOut.of(*self._policies.get(tenant_id))
