"""What receivers know the service by: signing secrets, which lie sealed, and the client certificate of an endpoint."""

import uuid
from typing import Final

from payymo.certificates.service import Certificates
from payymo.clock import Clock
from payymo.db.work import Transaction
from payymo.entropy import Entropy
from payymo.errors import Misconfigured, NotFound
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Column, Envelope
from payymo.webhooks import store
from payymo.webhooks.model import SECRET_BYTES, TRACE, Endpoint, Failure, newest_first, secret_text
from payymo.webhooks.sender import Identity

PURPOSE: Final = "webhooks"
SEALED: Final = Column(PURPOSE, store.list_sealed, store.count_sealed, store.reseal)


class Signing:
    """The secrets and the certificates of every endpoint."""

    def __init__(self, envelope: Envelope, clock: Clock, entropy: Entropy, *, certificates: Certificates) -> None:
        self._envelope = envelope
        self._clock = clock
        self._entropy = entropy
        self._certificates = certificates
        self._identities: dict[str, tuple[int, Identity]] = {}

    def add_secret(self, tx: Transaction, endpoint_id: uuid.UUID, version: int) -> str:
        """Step: a secret that signs from now on, as its owner is given it, once."""
        secret = self._entropy.bytes(SECRET_BYTES)
        sealed = self._envelope.seal(tx, PURPOSE, secret, *store.place_of(endpoint_id, version))
        store.add_secret(tx, endpoint_id, version, sealed)
        return secret_text(secret)

    def open_secrets(self, tx: Transaction, endpoint_id: uuid.UUID) -> list[bytes]:
        """Step: what an endpoint is signed with now, the newest first. Raises SealBroken: none of it can be opened.

        One that can't be does not keep the other from signing: else who makes another secret would wait for its end.
        """
        opened, broken = [], None
        for secret in newest_first(store.list_secrets(tx, endpoint_id), self._clock()):
            try:
                opened.append(self._envelope.open(tx, secret.sealed, *store.place_of(endpoint_id, secret.version)))
            except SealBroken as error:
                broken = error
        if broken is not None and not opened:
            raise broken
        return opened

    def identity_of(self, endpoint: Endpoint) -> Identity | Failure | None:
        """The client certificate that an endpoint is shown, if any."""
        name = endpoint.certificate
        if name is None:
            return None
        version, known = self._certificates.active_version(name), self._identities.get(name)
        if known is not None and known[0] == version:
            return known[1]
        try:
            found = self._certificates.current(name, usage="client", trace=TRACE)
        except (Misconfigured, NotFound):
            return Failure("certificate")
        if found is None:
            return Failure("certificate")
        identity = Identity(found.chain_pem, found.private_key_pem)
        self._identities[name] = (found.version, identity)
        return identity
