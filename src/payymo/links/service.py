"""Makes one-time links and uses them up. Only a digest is kept (`payymo.opaque`); where they lead is configured.

Whoever makes or uses a link has locked its user: one user's links are made and used one after the other.
"""

import uuid
from typing import Any, Final

from payymo import opaque
from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.links import store
from payymo.links.model import IssuedLink, Link, LinkKind, LinkPolicy, bind, write_url
from payymo.logs import BY_ITSELF, Event

PRUNED_AT_ONCE: Final = 500


class Links:
    """The one-time links of each tenant."""

    def __init__(self, work: Work, clock: Clock, entropy: Entropy, policy: LinkPolicy, *, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._audit = audit
        self._nobody = opaque.digest(entropy.bytes(32))

    def issue(
        self,
        tx: Transaction,
        kind: LinkKind,
        user_id: uuid.UUID,
        *,
        bound_to: tuple[str, ...],
        subject: str = "",
        live_seconds: int | None = None,
        ends_earlier: bool = True,
    ) -> IssuedLink:
        """Step: a new link, for the user whom the caller has locked. Earlier ones of its kind end.

        `bound_to`: what has to be the same when it is used. `live_seconds`: other than usual. Not `ends_earlier`: where
        strangers may ask for it, who would end their victim's link before it was opened.
        """
        made = opaque.make(self._entropy)
        life = self._policy.live_seconds[kind] if live_seconds is None else live_seconds
        expires_at = int(self._clock()) + life
        if ends_earlier:
            store.end(tx, user_id, [kind])
        store.add(tx, Link(made.id, user_id, kind, opaque.digest(made.secret), bind(*bound_to), subject, expires_at))
        url = write_url(self._policy.pages[kind], made.text, store.find_slug(tx))
        return IssuedLink(url, life)

    def find(self, tx: Transaction, token: str, kind: LinkKind) -> Link | None:
        """Step: the link behind a token, if it is good now; None also for one of another kind. It is not used up."""
        given = opaque.read(token)
        return None if given is None else self._checked(given, store.find(tx, given.id), kind)

    def use(self, tx: Transaction, token: str, kind: LinkKind) -> Link | None:
        """Step: the same, and it is used up: of parallel tries one gets it, if the transaction commits."""
        given = opaque.read(token)
        link = None if given is None else self._checked(given, store.lock(tx, given.id), kind)
        if link is not None:
            store.remove(tx, link.id)
        return link

    def end(self, tx: Transaction, user_id: uuid.UUID, *kinds: LinkKind) -> None:
        """Step: refuse a user's links of these kinds from now on."""
        store.end(tx, user_id, kinds)

    def list_facts(self, tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
        """Step: what is stored of a user's links: kinds, what they are about, until when they are good."""
        return store.list_facts(tx, user_id)

    def prune(self) -> int:
        """Forget one batch of what has expired. Answers how many; call until it is 0."""
        with self._work.platform() as tx:
            if count := store.prune(tx, now=int(self._clock()), count=PRUNED_AT_ONCE):
                self._audit.record(tx, Event("links.pruned", trace=BY_ITSELF, count=count))
        return count

    def _checked(self, given: opaque.Opaque, link: Link | None, kind: LinkKind) -> Link | None:
        is_same = opaque.matches(given.secret, self._nobody if link is None else link.digest)
        if link is None or not is_same or link.kind != kind or link.expires_at <= int(self._clock()):
            return None
        return link
