"""What a role is, what it grants, and who may hand it out. Pure.

A permission is `resource:action`; either part may be `*`. The resources in `PLATFORM_RESOURCES` reach across tenants,
so no role that a tenant makes can name them: only the built-in platform administrator has them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from payymo.errors import FieldError, InvalidInput
from payymo.phrases import Phrase

PLATFORM_RESOURCES: Final = frozenset({"tenants", "platform", "*"})
_PERMISSION = re.compile(r"(?:[a-z][a-z0-9_.-]{0,39}|\*):(?:[a-z][a-z0-9_.-]{0,39}|\*)")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,48}[a-z0-9]")

PLATFORM_ADMINISTRATOR: Final = "platform-administrator"
TENANT_ADMINISTRATOR: Final = "tenant-administrator"
MEMBER: Final = "member"
READ_ONLY: Final = "read-only"

BUILT_IN: Final = {
    PLATFORM_ADMINISTRATOR: ("*:*",),
    TENANT_ADMINISTRATOR: (
        *("account:*", "users:*", "roles:*", "sessions:*", "policies:*", "webhooks:*", "apikeys:*", "audit:read"),
    ),
    MEMBER: ("account:*",),
    READ_ONLY: ("account:read",),
}
"""Built-in roles are the same in each tenant and can't be changed."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions."""

    name: str
    permissions: tuple[str, ...]
    is_built_in: bool = False


def is_role_name(name: str) -> bool:
    """Whether a role could have this name."""
    return _NAME.fullmatch(name) is not None


def new_role(name: str, permissions: Iterable[str]) -> Role:
    """A tenant's own role. Raises InvalidInput: bad name, bad permission, or one that reaches across tenants."""
    wanted = tuple(sorted(set(permissions)))
    problems = []
    if not is_role_name(name) or name in BUILT_IN:
        problems.append(FieldError("/name", "2 to 50 of a-z, 0-9 and -, not the name of a built-in role"))
    problems += problems_of(wanted, at_most=100)
    if problems:
        raise InvalidInput(problems)
    return Role(name, wanted)


def is_permission(text: str) -> bool:
    """Whether this is written as permissions are, wildcards included."""
    return _PERMISSION.fullmatch(text) is not None


def problems_of(wanted: Sequence[str], *, at_most: int) -> list[FieldError]:
    """What is wrong with permissions for something of a tenant's: too many, badly written, across tenants."""
    problems = []
    if not 1 <= len(wanted) <= at_most:
        problems.append(FieldError("/permissions", Phrase("1 to {most} permissions", most=at_most)))
    wrong = [permission for permission in wanted if not is_permission(permission)]
    if wrong:
        told = Phrase(
            "write permissions as resource:action, such as invoices:read, and not as {wrong}", wrong=_named(wrong)
        )
        problems.append(FieldError("/permissions", told))
    if any(permission.split(":")[0] in PLATFORM_RESOURCES for permission in wanted if is_permission(permission)):
        problems.append(
            FieldError("/permissions", "nothing here can reach across tenants (tenants:…, platform:…, *:…)")
        )
    return problems


def _named(wrong: Sequence[str]) -> str:
    """Enough of them for whoever has written them to find them."""
    return ", ".join(permission[:40] for permission in wrong[:3]) + (", …" if len(wrong) > 3 else "")


def common(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """What both sets of permissions grant. Where two wildcards cross (`*:read`, `users:*`) it answers too little."""
    one, other = tuple(one), tuple(other)
    shared = {permission for permission in one if covers(other, (permission,))}
    return tuple(sorted(shared | {permission for permission in other if covers(one, (permission,))}))


def covers(granted: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether somebody with `granted` may hand out `wanted`: nobody gives what they don't have.

    A wildcard is covered by a wildcard at least as wide, not by the concrete permissions that it happens to stand for.
    """
    held = [permission.split(":") for permission in granted]
    return all(
        any(resource in {"*", asked_resource} and action in {"*", asked_action} for resource, action in held)
        for asked_resource, asked_action in (permission.split(":") for permission in wanted)
    )
