"""Finds the users of a tenant by how their names or addresses begin, a page at a time."""

import uuid
from dataclasses import dataclass
from typing import Final

from payymo.db.work import Work
from payymo.roles.service import Roles
from payymo.users import directory_rows as rows
from payymo.users.model import User, merge_keys

_LEAST: Final = "\x01"
_BEYOND: Final = "\x7f"
"""Less, and more, than every character of a key, which are in ASCII and printable. PostgreSQL takes no NUL."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A user, and the names of the roles that they hold."""

    user: User
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserPage:
    """Users in order. `next`: what the next page comes after; None: this is the last one."""

    users: tuple[Listed, ...]
    next: str | None


class Directory:
    """The users of each tenant, to be looked through."""

    def __init__(self, work: Work, *, roles: Roles) -> None:
        self._work = work
        self._roles = roles

    def page(self, tenant_id: uuid.UUID, beginning: str, *, after: str, count: int) -> UserPage:
        """Users whose user name or address begins like this, by whichever it is; all by user name, if it is empty.

        `after`: the `next` of the page before, or empty. It reads no more rows in a large tenant than in a small one.
        So a page may have fewer than `count`, and another one follow, where many have an address like their name.
        """
        if not (beginning + after).isascii() or not (beginning + after).isprintable():
            return UserPage((), None)
        prefix, limit = beginning.lower(), 2 * count + 1
        bounds = max(prefix, after and after + _LEAST), prefix + _BEYOND
        with self._work.reading(tenant_id) as tx:
            by_name = rows.list_by_username(tx, *bounds, count=limit)
            by_email = rows.list_by_email(tx, *bounds, count=limit) if prefix else ()
            is_cut = limit in {len(by_name), len(by_email)}
            found = merge_keys(prefix, by_name, by_email, count=count, at_most=limit)
            held = self._roles.names_held(tx, [user.id for user in found.users])
        return UserPage(
            tuple(Listed(user, held.get(user.id, ())) for user in found.users),
            found.last if found.is_more or is_cut else None,
        )
