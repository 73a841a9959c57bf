"""Keeps what each tenant asks of new passwords, and applies it."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict

from payymo.audit.log import AuditLog
from payymo.db.work import Work
from payymo.errors import FieldError
from payymo.logs import Event, Fact, Trace
from payymo.roles.service import Actor, authority_of
from payymo.users import policy_rows
from payymo.users.password_policy import PasswordPolicy, password_problems


class PasswordPolicies:
    """The policies of all tenants.

    `default`: of those who have none of their own. `words`: what the service is called.
    """

    def __init__(self, work: Work, *, default: PasswordPolicy, words: Sequence[str], audit: AuditLog) -> None:
        self.default = default
        self._work = work
        self._words = tuple(words)
        self._audit = audit

    def get(self, tenant_id: uuid.UUID) -> tuple[PasswordPolicy, bool]:
        """The policy in effect, and whether it is the tenant's own."""
        with self._work.reading(tenant_id) as tx:
            own, _ = policy_rows.find(tx)
        return own or self.default, own is not None

    def set(self, tenant_id: uuid.UUID, policy: PasswordPolicy | None, *, by: Actor | None, trace: Trace) -> None:
        """Give a tenant a policy of its own; None: the default again. Passwords that exist stay as they are.

        Raises InsufficientScope, Conflict.
        """
        with self._work(tenant_id) as tx:
            authority_of(by, tx)
            old, _ = policy_rows.find(tx)
            if policy is None:
                policy_rows.remove(tx)
            else:
                policy_rows.put(tx, policy)
            self._audit.record(tx, Event("password-policy.changed", trace=trace, old=_facts(old), new=_facts(policy)))

    def problems(self, tenant_id: uuid.UUID, password: str, *, email: str, username: str) -> list[FieldError]:
        """What is wrong with a new password of this person; empty when nothing is."""
        with self._work.reading(tenant_id) as tx:
            own, names = policy_rows.find(tx)
        return password_problems(
            password, own or self.default, email=email, username=username, words=(*names, *self._words)
        )


def _facts(policy: PasswordPolicy | None) -> dict[str, Fact]:
    return {"own": False} if policy is None else {"own": True} | asdict(policy)
