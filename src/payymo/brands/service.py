"""Keeps what each tenant looks like."""

import hashlib
import re
import uuid
from dataclasses import asdict, replace
from typing import Final

from payymo.audit.log import AuditLog
from payymo.brands import store
from payymo.brands.model import Brand, brand_of
from payymo.brands.png import clean
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import Conflict, NotFound
from payymo.logs import Event, Fact, Trace
from payymo.roles.service import Actor, authority_of

REMEMBER_SECONDS: Final = 2.0
"""How long a page of another process may show what a tenant looked like before."""
REMEMBER_AT_MOST: Final = 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Brands:
    """The brands of all tenants. A tenant without one looks as the service does."""

    def __init__(self, work: Work, clock: Clock, *, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._audit = audit
        self._known: dict[uuid.UUID, tuple[float, Brand | None]] = {}

    def get(self, tenant_id: uuid.UUID) -> Brand | None:
        """The tenant's brand, or None."""
        with self._work.reading(tenant_id) as tx:
            return store.find(tx)

    def look_up(self, tenant_id: uuid.UUID) -> Brand | None:
        """The same, for every page there is: an answer is remembered for two seconds."""
        now = self._clock()
        known = self._known.get(tenant_id)
        if known is not None and 0 <= now - known[0] < REMEMBER_SECONDS:
            return known[1]
        found = self.get(tenant_id)
        if len(self._known) >= REMEMBER_AT_MOST:
            self._known.clear()
        self._known[tenant_id] = (now, found)
        return found

    def find_in(self, tx: Transaction) -> Brand | None:
        """Step: the tenant's brand, or None."""
        return store.find(tx)

    def get_logo(self, tenant_id: uuid.UUID, digest: str) -> bytes:
        """The tenant's logo, a PNG, if it has this SHA-256. Raises NotFound, also for another tenant's."""
        if not _DIGEST.fullmatch(digest):
            raise NotFound
        with self._work.reading(tenant_id) as tx:
            found = store.find_logo(tx, digest)
        if found is None:
            raise NotFound
        return found

    def set(
        self,
        tenant_id: uuid.UUID,
        name: str,
        accent: str | None,
        *,
        language: str | None = None,
        logo: bytes | None = None,
        by: Actor | None,
        trace: Trace,
    ) -> Brand:
        """Give a tenant a display name, a colour, a language, and a logo; without one, its logo stays.

        Raises InvalidInput, InsufficientScope, Conflict.
        """
        wanted = brand_of(name, accent, language)
        picture = None if logo is None else clean(logo)
        with self._work(tenant_id) as tx:
            authority_of(by, tx)
            old = store.lock(tx)
            store.save(tx, wanted, is_new=old is None)
            kept = replace(wanted, logo=None if old is None else old.logo)
            new = kept if picture is None else _put_logo(tx, wanted, picture)
            self._note(tx, old, new, trace)
        return new

    def set_logo(self, tenant_id: uuid.UUID, logo: bytes | None, *, by: Actor | None, trace: Trace) -> Brand:
        """Give a tenant another logo; None: it has none any more.

        Raises InvalidInput, InsufficientScope, NotFound: there is none to be taken away; Conflict: it has no display
        name, which a logo has to go with.
        """
        picture = None if logo is None else clean(logo)
        with self._work(tenant_id) as tx:
            authority_of(by, tx)
            old = store.lock(tx)
            if picture is None and (old is None or old.logo is None):
                raise NotFound("This tenant has no logo.")
            if old is None:
                raise Conflict("Set a display name first: it is what a logo says to those who don't see it.")
            new = _put_logo(tx, old, picture)
            self._note(tx, old, new, trace)
        return new

    def remove(self, tenant_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> None:
        """Let a tenant look as the service does. Raises InsufficientScope."""
        with self._work(tenant_id) as tx:
            authority_of(by, tx)
            old = store.lock(tx)
            store.remove(tx)
            self._note(tx, old, None, trace)

    def _note(self, tx: Transaction, old: Brand | None, new: Brand | None, trace: Trace) -> None:
        self._audit.record(tx, Event("tenant.brand-changed", trace=trace, old=_facts(old), new=_facts(new)))
        tx.after_commit(self._known.clear)


def _put_logo(tx: Transaction, brand: Brand, picture: bytes | None) -> Brand:
    digest = None if picture is None else hashlib.sha256(picture).hexdigest()
    store.save_logo(tx, digest, picture)
    return replace(brand, logo=digest)


def _facts(brand: Brand | None) -> dict[str, Fact]:
    """The logo as its digest: a picture has no place in a log."""
    return {"own": False} if brand is None else {"own": True} | asdict(brand)
