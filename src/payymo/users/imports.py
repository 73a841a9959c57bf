"""Brings users of another system in, with the hashes of their passwords, so that nobody has to choose a new one.

Batches are transactions, and who is there already is found by e-mail address and user name: a run that was killed at
any moment is finished by the next one, and each user comes in once.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import AlreadyTaken
from payymo.logs import Trace
from payymo.roles.service import Actor, Roles, authority_of
from payymo.users import store
from payymo.users.import_file import Line, LineRefused, Newcomer
from payymo.users.model import User
from payymo.users.passwords import Passwords
from payymo.users.service import newcomer_event

AT_A_TIME: Final = 200

Outcome = Literal["imported", "already_there", "changed_since"]
"""changed_since: there, with a hash that was made here: they have logged in, or chosen another password."""
Judged = tuple[Line, Outcome | LineRefused]


@dataclass(frozen=True, slots=True)
class Summary:
    """How many lines came to what, and the schemes of those who were imported."""

    lines: Counter[Outcome | Literal["failed"]] = field(default_factory=Counter)
    schemes: Counter[str] = field(default_factory=Counter)


class UserImport:
    """Imports users into a tenant."""

    def __init__(
        self, work: Work, clock: Clock, entropy: Entropy, *, passwords: Passwords, roles: Roles, audit: AuditLog
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._passwords = passwords
        self._roles = roles
        self._audit = audit

    def run(
        self,
        tenant_id: uuid.UUID,
        lines: Iterable[Line],
        *,
        by: Actor | None,
        trace: Trace,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda _: None,
        refuse: Callable[[Line, LineRefused], None] = lambda _, __: None,
    ) -> Summary:
        """Import each user once, on the word of `by`; nobody who is there is changed.

        `progress` is told the number of the line that was reached, `refuse` each line that failed, both once that is
        committed. `dry_run`: nothing is written, so a name that is in the file twice is noticed only within a batch.
        """
        summary, waiting = Summary(), iter(lines)
        while batch := list(islice(waiting, AT_A_TIME)):
            for line, outcome in self._import(tenant_id, batch, by=by, trace=trace, dry_run=dry_run):
                if isinstance(outcome, LineRefused):
                    summary.lines["failed"] += 1
                    refuse(line, outcome)
                    continue
                summary.lines[outcome] += 1
                if outcome == "imported" and isinstance(line.found, Newcomer):
                    summary.schemes[line.found.scheme] += 1
            progress(batch[-1].number)
        return summary

    def _import(
        self, tenant_id: uuid.UUID, batch: Sequence[Line], *, by: Actor | None, trace: Trace, dry_run: bool
    ) -> Sequence[Judged]:
        """One transaction. When somebody takes a name meanwhile, one for each line."""
        try:
            with self._work.reading(tenant_id) if dry_run else self._work(tenant_id) as tx:
                judged = tuple(self._judge(tx, batch, authority_of(by, tx)))
                if not dry_run:
                    newcomers = [line.found for line, outcome in judged if outcome == "imported"]
                    self._add(tx, [found for found in newcomers if isinstance(found, Newcomer)], trace)
        except AlreadyTaken:
            if len(batch) == 1:
                return [(batch[0], LineRefused("somebody took the e-mail address or user name just now: run it again"))]
            singly = (self._import(tenant_id, [line], by=by, trace=trace, dry_run=dry_run) for line in batch)
            return [judged for found in singly for judged in found]
        return judged

    def _judge(self, tx: Transaction, batch: Sequence[Line], authority: Sequence[str]) -> Iterator[Judged]:
        """Step: what would come of each line, in order: the second of two that name the same user finds the first."""
        named = [line.found for line in batch if isinstance(line.found, Newcomer)]
        there = {}
        for known in store.find_named(tx, [one.email_key for one in named], [one.username_key for one in named]):
            there[known.email_key] = there[known.username_key] = known
        for line in batch:
            if isinstance(line.found, LineRefused):
                yield line, line.found
                continue
            outcome = self._outcome(tx, line.found, there, authority)
            if outcome == "imported":
                new = _named(line.found)
                there[new.email_key] = there[new.username_key] = new
            yield line, outcome

    def _outcome(
        self, tx: Transaction, one: Newcomer, there: dict[str, store.Named], authority: Sequence[str]
    ) -> Outcome | LineRefused:
        by_email, by_name = there.get(one.email_key), there.get(one.username_key)
        if by_email is None and by_name is None:
            refused = self._roles.why_not(tx, one.roles, by=authority)
            return LineRefused(f"roles: {refused}") if refused else "imported"
        if by_email is not by_name or by_email is None:
            taken = "e-mail address" if by_name is None else "user name"
            return LineRefused(f"another user has this {taken}: give this one another, or leave the line out")
        if by_email.status == "unverified":  # whoever that is: not who was imported, and not known to be the one
            return LineRefused(
                "whoever has these names registered or was invited, and has not verified the address: erase them first"
            )
        if by_email.password_hash == one.password_hash:
            return "already_there"
        made_here = not self._passwords.needs_replacement(by_email.password_hash)
        if made_here and self._passwords.needs_replacement(one.password_hash):
            return "changed_since"
        return LineRefused("this user is there with another password hash, and stays as they are: leave the line out")

    def _add(self, tx: Transaction, newcomers: Sequence[Newcomer], trace: Trace) -> None:
        """Step: add them, with what was found to be theirs to have. Raises AlreadyTaken."""
        now, tenant_id = int(self._clock()), tx.tenant_id
        if not newcomers or tenant_id is None:
            return
        # Who imports users vouches for their addresses.
        made = [
            (User(self._entropy.uuid(), tenant_id, one.email, one.username, one.status, now, now), one)
            for one in newcomers
        ]
        store.add_users(tx, [(user, _named(one)) for user, one in made])
        self._roles.hand_out(tx, {user.id: one.roles for user, one in made})
        for user, one in made:
            self._audit.record(tx, newcomer_event("user.imported", user, one.roles, trace))


def _named(one: Newcomer) -> store.Named:
    return store.Named(one.email_key, one.username_key, one.password_hash)
