"""The steps that a version of a certificate goes through, each in the transaction of who takes it.

Whoever changes versions of a name holds one lock, so that what was read is still so when it is written. That one
version at most is active the database says, too: a partial unique index.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography import x509

from payymo.certificates import making, store
from payymo.certificates.model import (
    CertificatePolicy,
    CertificateVersion,
    Usage,
    activation_of,
    is_due,
    one,
    refusal,
)
from payymo.certificates.reading import PrivateKey
from payymo.certificates.validation import (
    dump_chain,
    is_for_development,
    lacking,
    load_chain,
    names_of,
    validity_of,
    when,
)
from payymo.db.work import Transaction
from payymo.errors import Conflict, Misconfigured, NotFound
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Column, Envelope
from payymo_guard.certificate_reading import pin_of, thumbprint_of

PRIVATE_KEYS = Column("certificates", store.list_sealed, store.count_sealed, store.reseal)


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """A validated certificate that is to be kept. No `repr`: it would show the key."""

    name: str
    usage: Usage
    chain: tuple[x509.Certificate, ...]
    private: bytes | None
    """None: it answers a request, whose key we have."""
    activates_at: int | None = None
    other_names: bool = False
    """Whether it may lack names that were asked for, or that the active one bears."""


class Lifecycle:
    """Takes the steps. All of them are platform work, and begin with `begin`."""

    def __init__(self, envelope: Envelope, policy: CertificatePolicy) -> None:
        self._envelope = envelope
        self.policy = policy

    def begin(self, tx: Transaction, name: str) -> tuple[CertificateVersion, ...]:
        """Step: hold the lock. Answers the versions of a name as they are now."""
        store.lock(tx)
        return store.list_versions(tx, name)

    def admit(
        self, tx: Transaction, draft: Draft, versions: Sequence[CertificateVersion], now: int
    ) -> CertificateVersion:
        """Step: keep a new version, in use if its time has come. Answers it as it is then.

        Raises Conflict (it is there already, or the next one is), InvalidInput (names, calendar, key).
        """
        active, leaf = one(versions, "active"), draft.chain[0]
        pin, thumbprint = pin_of(leaf.public_key()), thumbprint_of(leaf)
        self._require_place(tx, draft, versions, pin)
        begin, end = validity_of(draft.chain)
        is_development = is_for_development(draft.chain)
        new = CertificateVersion(
            name=draft.name,
            version=1 + max((found.version for found in versions), default=0),
            usage=draft.usage,
            state="next",
            is_development=is_development,
            pin=pin,
            created_at=now,
            chain_pem=dump_chain(draft.chain),
            thumbprint=thumbprint,
            not_before=begin,
            not_after=end,
            activates_at=activation_of(begin, active, now, is_development=is_development, policy=self.policy)
            if draft.activates_at is None
            else draft.activates_at,
        )
        _require_calendar(new, active, now)
        new = self._fill(tx, new, versions) if draft.private is None else self.add(tx, new, draft.private)
        if is_due(new, active, now, self.policy):
            self.activate(tx, new, versions, now)
            new = replace(new, state="active", activated_at=now)
        return new

    def add(self, tx: Transaction, new: CertificateVersion, private: bytes) -> CertificateVersion:
        """Step: keep a version with its private half sealed."""
        place = store.place_of(new.name, new.version)
        sealed = replace(new, sealed=self._envelope.seal(tx, PRIVATE_KEYS.purpose, private, *place))
        store.add(tx, sealed)
        return sealed

    def activate(
        self, tx: Transaction, version: CertificateVersion, versions: Sequence[CertificateVersion], now: int
    ) -> None:
        """Step: use a version from now on; the one before is accepted for the overlap, or until it expires."""
        active = one(versions, "active")
        if active is not None:
            end = now + self.policy.overlap_seconds
            store.step_down(tx, active, end if active.not_after is None else min(end, active.not_after))
        store.activate(tx, version, now)

    def revoke(
        self, tx: Transaction, version: CertificateVersion, now: int
    ) -> tuple[tuple[CertificateVersion, ...], tuple[CertificateVersion, ...]]:
        """Step: destroy a key that somebody else may have, wherever it is in use. It is never accepted again.

        Answers the versions, of whatever name, that are revoked now, and those that are in use instead.
        """
        revoked = store.list_with_pin(tx, version.pin)
        for found in revoked:
            store.destroy(tx, found, "revoked", now)
        names = sorted({found.name for found in revoked if found.state == "active"})
        heirs = [self.succeed(tx, name, now) for name in names]
        return revoked, tuple(heir for heir in heirs if heir is not None)

    def succeed(self, tx: Transaction, name: str, now: int) -> CertificateVersion | None:
        """Step: let the next version of a name be in use, which has no active one any more. None: there is none yet."""
        following = one(store.list_versions(tx, name), "next")
        if following is None or following.not_before is None:
            return None
        store.reschedule(tx, following, max(now, following.not_before))
        if not is_due(replace(following, activates_at=now), None, now, self.policy):
            return None
        store.activate(tx, following, now)
        return following

    def open(self, tx: Transaction, version: CertificateVersion) -> PrivateKey:
        """Step: the private half. Raises NotFound (destroyed), Misconfigured (the seal is broken)."""
        called = f"version {version.version} of {version.name}"
        if version.sealed is None:
            raise NotFound(f"The private half of {called} is destroyed.")
        try:
            place = store.place_of(version.name, version.version)
            return making.deserialize(self._envelope.open(tx, version.sealed, *place))
        except SealBroken:
            raise Misconfigured([f"the private half of {called} does not open: it was changed or moved"]) from None

    def _require_place(self, tx: Transaction, draft: Draft, versions: Sequence[CertificateVersion], pin: str) -> None:
        require_new(draft.name, versions, draft.chain[0])
        if store.is_pin_revoked(tx, pin):
            raise Conflict("The key of this certificate is revoked here: have another key certified.")
        require_usage(draft.name, versions, draft.usage)
        following, active = one(versions, "next"), one(versions, "active")
        if following is not None:
            raise Conflict(
                f"Version {following.version} of {draft.name} is the next one already: activate or retire it first."
            )
        is_development = is_for_development(draft.chain)
        if active is not None and is_development and not active.is_development:
            raise Conflict(f"{draft.name} has a real certificate: take another name for one for development.")
        if not draft.other_names and draft.usage != "authority":
            _require_names(draft.chain[0], versions, pin, is_development=is_development)

    def _fill(
        self, tx: Transaction, new: CertificateVersion, versions: Sequence[CertificateVersion]
    ) -> CertificateVersion:
        requested = one(versions, "requested")
        if requested is None or requested.pin != new.pin:
            raise Conflict(f"The request of {new.name} was given up meanwhile: give the private key with --key.")
        if requested.usage != new.usage:
            raise Conflict(f"The request of {new.name} is for a {requested.usage}'s certificate, not a {new.usage}'s.")
        filled = replace(
            new,
            version=requested.version,
            created_at=requested.created_at,
            request_pem=requested.request_pem,
            sealed=requested.sealed,
        )
        store.fill(tx, filled)
        return filled


def require_usage(name: str, versions: Sequence[CertificateVersion], usage: Usage) -> None:
    """Raise Conflict when the certificates of a name are for something else."""
    others = {found.usage for found in versions if found.chain_pem is not None} - {usage}
    if others:
        raise Conflict(f"{name} is the name of {others.pop()} certificates: take another name.")


def require_new(name: str, versions: Sequence[CertificateVersion], certificate: x509.Certificate) -> None:
    """Raise Conflict when a certificate is a version of the name already."""
    thumbprint = thumbprint_of(certificate)
    for found in versions:
        if found.thumbprint == thumbprint:
            raise Conflict(f"This certificate is version {found.version} of {name} ({found.state}) already.")


def _require_names(
    leaf: x509.Certificate, versions: Sequence[CertificateVersion], pin: str, *, is_development: bool
) -> None:
    """Clients of a name that is forgotten at renewal would find out when the new one takes over, and all at once."""
    wanted: set[str] = set()
    active, requested = one(versions, "active"), one(versions, "requested")
    if active is not None and active.chain_pem is not None and active.is_development == is_development:
        wanted.update(names_of(load_chain(active.chain_pem)[0]))
    if requested is not None and requested.pin == pin and requested.request_pem is not None:
        wanted.update(names_of(x509.load_pem_x509_csr(requested.request_pem.encode())))
    if missing := lacking(wanted, names_of(leaf)):
        told = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise refusal("certificate", f"it lacks {told}, which the one before bears or the request names; --other-names")


def _require_calendar(new: CertificateVersion, active: CertificateVersion | None, now: int) -> None:
    if new.activates_at is None or new.not_before is None or new.not_after is None:
        return
    if not new.not_before <= new.activates_at <= new.not_after:
        span = f"{when(new.not_before)} to {when(new.not_after)}"
        raise refusal("activate-at", f"the certificate is valid from {span}: name a moment in between")
    if active is None or active.not_after is None or active.is_development or active.has_expired_at(now):
        return
    if new.activates_at > active.not_after:
        end, begin = when(active.not_after), when(new.activates_at)
        raise refusal("activate-at", f"the active one expires on {end}: nothing would be valid until {begin}")
