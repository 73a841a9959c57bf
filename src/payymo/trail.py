"""The audit logs, built: what grows, signs, reads, checks and shortens them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from payymo.audit.checkpoints import AuditKey, Checkpoints, Signing
from payymo.audit.delivery import Delivery
from payymo.audit.destinations import NotDelivered
from payymo.audit.erasing import Erasing
from payymo.audit.proving import Proving
from payymo.audit.reader import AuditReader
from payymo.audit.retention import Retention
from payymo.audit.sequencer import Sequencer
from payymo.audit.verification import Open, Verification
from payymo.db.work import Transaction, Work
from payymo.errors import PayymoError
from payymo.keys.model import raw_public
from payymo.logs import Trace
from payymo.parts import Ground, Owners
from payymo.policies import (
    checkpoint_destinations,
)
from payymo.sealed import SealedRow
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Envelope
from payymo.secrets.service import Secrets


@dataclass(frozen=True, slots=True)
class Trail:
    """What grows the audit logs, signs, reads and checks them, and lets them end."""

    sequencer: Sequencer
    checkpoints: Checkpoints
    reader: AuditReader
    retention: Retention
    erasing: Erasing
    verification: Verification
    proving: Proving


def trail_of(ground: Ground, owners: Owners) -> Trail:
    """Everything about the audit logs but what sends their checkpoints away."""
    work, clock, envelope = ground.work, ground.clock, ground.envelope
    checkpoints, open_payloads = _checkpoints(ground, owners), _opener(work, envelope)
    keys, keep_days = checkpoints.verifier_keys, ground.settings.audit.keep_days
    sequencer = Sequencer(work, clock)
    return Trail(
        sequencer=sequencer,
        checkpoints=checkpoints,
        reader=AuditReader(work, seal=envelope.seal, open_sealed=envelope.open, is_shredded=envelope.is_shredded),
        retention=Retention(work, clock, ground.audit, keys=keys, keep_days=keep_days),
        erasing=Erasing(work, clock, sequencer),
        verification=Verification(work, checkpoints, open_payloads=open_payloads),
        proving=Proving(work, checkpoints, open_payloads=open_payloads, audit=ground.audit),
    )


def _checkpoints(ground: Ground, owners: Owners) -> Checkpoints:
    ring, issuer = owners.ring, urlsplit(ground.settings.issuer)

    def signing() -> Signing:
        kid = ring.active_kid("audit")
        [key] = [key for key in ring.list_keys() if key.kid == kid]
        return Signing(raw_public(key), lambda message: ring.sign("audit", message, kid=kid))

    def keys() -> list[AuditKey]:
        return [AuditKey(raw_public(key), key.state == "revoked") for key in ring.list_ever("audit")]

    deployment = (issuer.netloc + issuer.path).rstrip("/")
    return Checkpoints(ground.work, ground.clock, deployment=deployment, signing=signing, keys=keys)


def delivery_of(ground: Ground, secrets: Secrets) -> Delivery:
    """What sends checkpoints to where they are kept besides."""
    name = ground.settings.audit.bearer_secret
    known: list[str] = []

    def token(*, is_refused: bool = False) -> str | None:
        """Read once, and again when it was refused: each reading is an event. Raises NotDelivered: it can't be read."""
        if name is not None and (is_refused or not known):
            try:
                secret = secrets.get(name, trace=Trace(request_id="audit"))
            except PayymoError as error:  # it is retired, or its keeper is away: other places have to be served
                raise NotDelivered(f"the bearer secret can't be read ({error.code})") from None
            known[:] = [secret.value.decode("ascii", "replace").strip()]
        return known[0] if known else None

    destinations = checkpoint_destinations(ground.settings, token)
    every = ground.settings.audit.every_seconds
    return Delivery(ground.work, ground.clock, ground.entropy, destinations, every_seconds=every)


def _opener(work: Work, envelope: Envelope) -> Open:
    """Opens what is personal in events. A tenant that was deleted has taken its keys with it."""

    def open_one(tx: Transaction, found: SealedRow) -> bytes | None:
        try:
            return envelope.open(tx, found.sealed, *found.place)
        except SealBroken:
            return None

    def open_all(tenant_id: uuid.UUID | None, found: Sequence[SealedRow]) -> list[bytes | None]:
        with work.platform(writes=False) if tenant_id is None else work.reading(tenant_id) as tx:
            return [] if envelope.is_shredded(tx) else [open_one(tx, row) for row in found]

    return open_all
