"""Who is asked about when time is measured: tenants of the measurement's own, with users of each kind, and tokens.

They are made through the same doors as anybody's, and deleted afterwards with all that belongs to them.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from payymo import opaque
from payymo.cli.common import CONSOLE
from payymo.logs import Event
from payymo.services import Services
from payymo.sessions.model import Device, TokenPair
from payymo.tenants.model import Tenant
from payymo.tokens import Subject
from payymo.users.model import User

PASSWORD: Final = "correct horse of the harness"  # noqa: S105 - of users who live for an hour
WRONG: Final = "not the password of it"
IMPORTED: Final = {
    "bcrypt": "$2b$10$e9OV26Yw6DA9IG2XTzwOJusKLq1ox6vXXgrl4xk6fD.HcaE7AjZ3K",
    "pbkdf2": "pbkdf2:sha256:150000$t3Q9qhnIiaGJGsCo$5453e4a2e996ccb473d985f7bd28476d7aeed0c1f58ee1eac1833fa422011236",
    "scrypt": "scrypt:16384:8:1$NNb0A5vIJjRXqMwj$7731e66ff4a947bcfed06a55084bc83cc73307b5140a8d43107fc97436bf1491"
    "fcb97cfdebe903b5b43d23b1cbeb3771f8c35db25363e225b17b99f7ab9974d4",
    "argon2": "$argon2id$v=19$m=512,t=2,p=2$42OIiqZe3Oml4L2wAT/7Fg$xQt1f8LBGEl+wvykgGbou1WXRj7fQFunMBEw2BIMOLM",
}
"""Hashes of the password as older systems keep them. Three take longer than today's kind: bcrypt of cost 10, PBKDF2 of
Werkzeug before 2.0, scrypt as Percival proposed it for logins (2009, section 7). Argon2 of argon2-cffi before 18.2
takes less."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, ready to be sent."""

    path: str
    body: bytes
    headers: Mapping[str, str]


class World:
    """The tenants and their users. `plain` has hashes of today's kind alone; those named after a scheme one of it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._mark = services.entropy.token(4)
        self._made: list[Tenant] = []
        self._tokens: dict[str, TokenPair] = {}
        self._refresh: dict[str, str] = {}

    def tenant(self, name: str = "plain") -> Tenant:
        """The tenant of this name, made when it is first asked for."""
        slug = f"timing-{self._mark}-{name}"
        found = next((tenant for tenant in self._made if tenant.slug == slug), None)
        if found is None:
            found = self._services.administration.create_tenant(slug, "Time is measured", by=None, trace=CONSOLE)
            self._made.append(found)
            self._fill(found, IMPORTED.get(name))
        return found

    def _fill(self, tenant: Tenant, imported: str | None) -> None:
        self._user(tenant, "known")
        disabled = self._user(tenant, "disabled")
        self._services.administration.change_user(tenant.id, disabled.id, status="disabled", by=None, trace=CONSOLE)
        forced = self._user(tenant, "forced")
        self._services.administration.force_reset(tenant.id, forced.id, by=None, trace=CONSOLE)
        own_hash = self._services.passwords.hash(PASSWORD)
        with self._services.work(tenant.id) as tx:
            made = self._services.users.add_unverified(
                tx, tenant.id, email="unverified@timing.example", username="unverified", password_hash=own_hash
            )
            self._services.audit.record(tx, Event("user.registered", trace=CONSOLE, user_id=made.user.id))
        if imported is not None:
            user = self._user(tenant, "imported")
            with self._services.work(tenant.id) as tx:
                self._services.users.change_password(tx, user.id, imported)
                self._services.audit.record(tx, Event("user.imported", trace=CONSOLE, user_id=user.id))

    def _user(self, tenant: Tenant, name: str) -> User:
        return self._services.users.create(
            tenant.id, email=f"{name}@timing.example", username=name, password=PASSWORD, by=None, trace=CONSOLE
        )

    def log_in(self, who: str, *, password: str = WRONG, tenant: str = "plain") -> Ask:
        """A login. `who`: an address, or the name of a user."""
        email = who if "@" in who else f"{who}@timing.example"
        return self.ask("login", {"email": email, "password": password}, tenant=tenant)

    def ask(self, what: str, body: Mapping[str, str], *, tenant: str | None = "plain") -> Ask:
        """A request to `/api/auth/…`, in a tenant, or in none that it would name."""
        headers = {"Content-Type": "application/json"}
        if tenant is not None:
            headers["X-Tenant"] = self.tenant(tenant).slug
        return Ask(f"/api/auth/{what}", json.dumps(body).encode(), headers)

    def revoked(self, tenant: str = "plain") -> TokenPair:
        """The tokens of a session that has ended: its user logged out, or with `suspended` its tenant was suspended."""
        if tenant not in self._tokens:
            owner = self.tenant(tenant)
            services = self._services
            pair = services.sessions.log_in(
                owner.id,
                email="known@timing.example",
                password=PASSWORD,
                device=Device("127.0.0.1", "payymo prove timing"),
                trace=CONSOLE,
            ).tokens
            if tenant == "suspended":
                services.administration.suspend(owner.id, by=None, trace=CONSOLE)
            else:
                claims = services.verifier.verify(pair.access_token)
                user_id, session_id = uuid.UUID(claims.sub), uuid.UUID(claims.sid)
                services.sessions.log_out(owner.id, user_id, session_id, everywhere=False, trace=CONSOLE)
            self._tokens[tenant] = pair
        return self._tokens[tenant]

    def expired_access(self) -> str:
        """An access token of this service whose time is over."""
        subject, then = self._nobody(), int(self._services.clock()) - 3600
        kid = self._services.minter.plan().access_kid
        return self._services.minter.mint_access(subject, kid=kid, issued_at=then, expires_at=then + 60)

    def refresh_of_nobody(self, *, lives: bool) -> str:
        """A refresh token of this service for a session that never was; in its time, or after it."""
        entropy, minter = self._services.entropy, self._services.minter
        issued_at = int(self._services.clock()) - (0 if lives else 90_000)
        return minter.mint_refresh(
            self._nobody(),
            token_id=entropy.uuid(),
            kid=minter.active_refresh_kid(),
            issued_at=issued_at,
            expires_at=issued_at + 86_400,
        )

    def link(self) -> str:
        """The token of a link for a new password of the known user's."""
        return self._link(3600)

    def expired_link(self) -> str:
        """The same, a second late."""
        return self._link(-1)

    def no_link(self) -> str:
        """A token like that of a link, of which nothing is kept."""
        return opaque.make(self._services.entropy).text

    def _link(self, live_seconds: int) -> str:
        services, tenant = self._services, self.tenant()
        user = services.users.get_by_email(tenant.id, "known@timing.example")
        with services.work(tenant.id) as tx:
            services.users.lock(tx, user.id, by=None)
            made = services.links.issue(
                tx, "reset-password", user.id, bound_to=(), live_seconds=live_seconds, ends_earlier=False
            )
            services.audit.record(tx, Event("user.reset-requested", trace=CONSOLE, user_id=user.id))
        return parse_qs(made.url.partition("#")[2])["token"][0]

    def _nobody(self) -> Subject:
        new = self._services.entropy.uuid
        return Subject(self.tenant().id, new(), new())

    def clear(self) -> None:
        """Delete what was made. Safe to be asked for twice."""
        while self._made:
            tenant = self._made[-1]
            self._services.administration.suspend(tenant.id, by=None, trace=CONSOLE)
            self._services.administration.delete_tenant(tenant.id, by=None, progress=lambda _rows: None, trace=CONSOLE)
            self._made.pop()


@contextmanager
def world(services: Services) -> Iterator[World]:
    """A world, cleared afterwards whatever happens."""
    made = World(services)
    try:
        yield made
    finally:
        made.clear()


def forged(token: str) -> str:
    """The same token with a signature of nobody's."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{signature[::-1]}"
