"""A small authority for development: made once, its key sealed like any other, and refused in production."""

from dataclasses import dataclass, replace

from cryptography import x509

from payymo.audit.log import AuditLog
from payymo.certificates import making, store
from payymo.certificates.lifecycle import Draft, Lifecycle
from payymo.certificates.model import AUTHORITY, DAY_SECONDS, CertificateVersion, Usage, one
from payymo.certificates.reading import PrivateKey
from payymo.certificates.service import require_name
from payymo.certificates.validation import dump_chain, load_chain
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Conflict
from payymo.logs import Event, Trace
from payymo_guard.certificate_reading import pin_of, thumbprint_of

AUTHORITY_DAYS = 3650
MAX_DAYS = 397
"""Browsers take none that live longer."""
SERIAL_BYTES = 16


@dataclass(frozen=True, slots=True, repr=False)
class _Authority:
    certificate: x509.Certificate
    key: PrivateKey


class DevelopmentAuthority:
    """Issues certificates that nobody but their maker trusts."""

    def __init__(self, work: Work, lifecycle: Lifecycle, clock: Clock, entropy: Entropy, audit: AuditLog) -> None:
        self._work = work
        self._lifecycle = lifecycle
        self._clock = clock
        self._entropy = entropy
        self._audit = audit

    def issue(
        self, name: str, names: list[x509.GeneralName], *, usage: Usage = "server", days: int = 90, trace: Trace
    ) -> CertificateVersion:
        """A new certificate, in use at once. The first time the authority is made.

        Raises Conflict: in production, or where the name has a real certificate.
        """
        if self._lifecycle.policy.is_production:
            raise Conflict("Development certificates are refused in production: use payymo certificate request.")
        require_name(name)
        making.require_reachable(names, usage)
        now = int(self._clock())
        key, end = making.generate("p-256"), now + days * DAY_SECONDS
        with self._work.platform() as tx:
            authority = self._authority(tx, now, end)
            issued = making.certify(
                key,
                names,
                usage,
                authority=authority.certificate,
                authority_key=authority.key,
                serial=self._entropy.bytes(SERIAL_BYTES),
                begin=now - making.SKEW_SECONDS,
                end=end,
            )
            draft = Draft(
                name,
                usage,
                (issued, authority.certificate),
                making.serialize(key),
                activates_at=now,
                other_names=True,
            )
            new = self._lifecycle.admit(tx, draft, self._lifecycle.begin(tx, name), now)
            event = Event("certificate.issued", trace=trace, certificate=name, version=new.version)
            self._audit.record(tx, replace(event, reason="development"))
        return new

    def _authority(self, tx: Transaction, now: int, end: int) -> _Authority:
        """Step: the authority, made if there is none or if it ends too soon."""
        versions = self._lifecycle.begin(tx, AUTHORITY)
        active = one(versions, "active")
        if active is not None and active.chain_pem is not None and (active.not_after or 0) >= end:
            [certificate] = load_chain(active.chain_pem)
            return _Authority(certificate, self._lifecycle.open(tx, active))
        key = making.generate("p-256")
        begin, last = now - making.SKEW_SECONDS, now + AUTHORITY_DAYS * DAY_SECONDS
        certificate = making.self_certified(key, serial=self._entropy.bytes(SERIAL_BYTES), begin=begin, end=last)
        new = CertificateVersion(
            name=AUTHORITY,
            version=1 + max((found.version for found in versions), default=0),
            usage="authority",
            state="active",
            is_development=True,
            pin=pin_of(key.public_key()),
            created_at=now,
            chain_pem=dump_chain((certificate,)),
            thumbprint=thumbprint_of(certificate),
            not_before=begin,
            not_after=last,
            activated_at=now,
        )
        if active is not None:
            store.destroy(tx, active, "retired", now)
        self._lifecycle.add(tx, new, making.serialize(key))
        return _Authority(certificate, key)
