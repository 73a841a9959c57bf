"""The certificate store: import, request, change, give out. Each act is logged; no private half ever is.

What a TLS listener presents is `current`; whether that has changed is a cheap question, `active_version`.
"""

from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509

from payymo.audit.log import AuditLog
from payymo.certificates import making, store
from payymo.certificates.lifecycle import Draft, Lifecycle, require_new, require_usage
from payymo.certificates.model import (
    AUTHORITY,
    CertificateVersion,
    ServerCredential,
    Usage,
    one,
    refusal,
)
from payymo.certificates.reading import Material, PrivateKey
from payymo.certificates.validation import dump_chain, is_for_development, is_self_signed, load_chain, validate, when
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import Conflict, InvalidInput, Misconfigured, NotFound, PayymoError
from payymo.logs import Event, Trace
from payymo.secrets.model import require_secret_name
from payymo_guard.certificate_reading import pin_of

MIN_PASSWORD_LENGTH = 20
"""The integrity check of PKCS#12 costs a guess little, whatever the encryption costs: the length has to do it."""
MAX_PASSWORD_BYTES = 1024
NO_VERSION = "There is no such certificate."


class Certificates:
    """The service's own certificates."""

    def __init__(self, work: Work, lifecycle: Lifecycle, clock: Clock, audit: AuditLog) -> None:
        self._work = work
        self._lifecycle = lifecycle
        self._clock = clock
        self._audit = audit

    def list_all(self) -> tuple[CertificateVersion, ...]:
        """Every version there ever was, by name and number."""
        with self._work.platform(writes=False) as tx:
            return store.list_all(tx)

    def get(self, name: str, version: int | None = None) -> CertificateVersion:
        """A version; without a number the active one, else what is to become it. Raises NotFound."""
        with self._work.platform(writes=False) as tx:
            return _find(store.list_versions(tx, name), version)

    def list_accepted(self, name: str) -> tuple[CertificateVersion, ...]:
        """What peers that know us by certificate or pin have to accept now: next, active, retiring. Raises NotFound."""
        with self._work.platform(writes=False) as tx:
            found = store.list_versions(tx, name)
        accepted = tuple(version for version in found if version.state in {"next", "active", "retiring"})
        if not accepted:
            raise NotFound(NO_VERSION)
        return accepted

    def active_version(self, name: str) -> int | None:
        """The number of the version in use, or None. Cheap enough to be asked every few seconds."""
        with self._work.platform(writes=False) as tx:
            return store.find_active_version(tx, name)

    def current(self, name: str, *, usage: Usage = "server", trace: Trace) -> ServerCredential | None:
        """What a TLS listener or client presents now; None when the name has no active version. Logged once per call.

        Raises Misconfigured: expired, for development in production, for another usage, changed in the database.
        """
        with self._work.platform(writes=False) as tx:
            version = store.find_active(tx, name)
            if version is None:
                return None
            key = self._lifecycle.open(tx, version)
        try:
            chain = self._require_sound(version, key, usage=usage)
        except PayymoError as error:
            self._audit.tell(replace(happened("used", version, trace, reason=error.code), outcome="refused"))
            raise
        self._audit.tell(happened("used", version, trace))
        return ServerCredential(
            version=version.version,
            chain_pem=dump_chain(_presented(chain)).encode(),
            private_key_pem=making.pem_of_key(key),
            not_after=version.not_after or 0,
            is_development=version.is_development,
        )

    def add(
        self,
        name: str,
        material: Material,
        *,
        usage: Usage = "server",
        activates_at: int | None = None,
        other_names: bool = False,
        trace: Trace,
    ) -> CertificateVersion:
        """Keep a certificate, with its key or for the key that was requested here.

        The first one of a name is in use at once, a later one by the calendar. Raises InvalidInput, Conflict.
        """
        require_name(name)
        now = int(self._clock())
        pin = self._requested_pin(name, material) if material.key is None else pin_of(material.key.public_key())
        validate(material.chain, pin=pin, usage=usage, now=now)
        if self._lifecycle.policy.is_production and is_for_development(material.chain):
            raise Conflict("It comes from a development authority, which production does not accept.")
        private = None if material.key is None else making.serialize(material.key)
        draft = Draft(name, usage, material.chain, private, activates_at, other_names)
        with self._work.platform() as tx:
            new = self._lifecycle.admit(tx, draft, self._lifecycle.begin(tx, name), now)
            self._event(tx, "imported", new, trace)
            if new.state == "active":
                self._event(tx, "activated", new, trace, reason="import")
        return new

    def request(
        self,
        name: str,
        names: list[x509.GeneralName],
        *,
        algorithm: making.Algorithm = "p-256",
        usage: Usage = "server",
        trace: Trace,
    ) -> CertificateVersion:
        """Make a key, which stays here, and a signing request for it. Raises InvalidInput, Conflict."""
        require_name(name)
        making.require_reachable(names, usage)
        key = making.generate(algorithm)
        pem = making.request(key, names, usage)
        now = int(self._clock())
        with self._work.platform() as tx:
            versions = self._lifecycle.begin(tx, name)
            require_usage(name, versions, usage)
            waiting = one(versions, "requested")
            if waiting is not None:
                raise Conflict(
                    f"Version {waiting.version} of {name} is requested already: import its certificate, or revoke it."
                )
            new = CertificateVersion(
                name=name,
                version=1 + max((found.version for found in versions), default=0),
                usage=usage,
                state="requested",
                is_development=False,
                pin=pin_of(key.public_key()),
                created_at=now,
                request_pem=pem,
            )
            new = self._lifecycle.add(tx, new, making.serialize(key))
            self._event(tx, "requested", new, trace)
        return new

    def activate(self, name: str, version: int, *, trace: Trace) -> None:
        """Use a next version now, or a retiring one again. Raises NotFound, Conflict, InvalidInput, Misconfigured."""
        now = int(self._clock())
        with self._work.platform() as tx:
            versions = self._lifecycle.begin(tx, name)
            found = _find(versions, version)
            if found.state not in {"next", "retiring"}:
                raise Conflict(
                    f"Version {version} of {name} is {found.state}: only a next or retiring one can be used."
                )
            if found.not_before is not None and now < found.not_before:
                raise Conflict(f"Version {version} of {name} is not valid before {when(found.not_before)}.")
            self._require_sound(found, self._lifecycle.open(tx, found), usage=found.usage)
            self._lifecycle.activate(tx, found, versions, now)
            self._event(tx, "activated", found, trace, reason="command")

    def retire(self, name: str, version: int, *, last: bool = False, trace: Trace) -> None:
        """Destroy the private half of a version that is not in use; with `last` of an active one without a successor.

        Raises NotFound, Conflict.
        """
        with self._work.platform() as tx:
            versions = self._lifecycle.begin(tx, name)
            found = _find(versions, version)
            if found.state in {"retired", "revoked"}:
                raise Conflict(f"Version {version} of {name} is {found.state} already.")
            if found.state == "active" and not last:
                raise Conflict(f"Version {version} of {name} is in use: activate another one first, or say --last.")
            if found.state == "active" and one(versions, "next") is not None:
                raise Conflict(f"{name} has a next version: activate that one instead.")
            store.destroy(tx, found, "retired", int(self._clock()))
            self._event(tx, "retired", found, trace, reason="command")

    def revoke(self, name: str, version: int, *, trace: Trace) -> int | None:
        """Destroy the key of a version, and never accept it again, under whatever name. Answers the version now in use.

        Where it was in use, the next version is at once, if it is valid and has another key. Raises NotFound, Conflict.
        """
        with self._work.platform() as tx:
            versions = self._lifecycle.begin(tx, name)
            found = _find(versions, version)
            if found.state == "revoked":
                raise Conflict(f"Version {version} of {name} is revoked already.")
            revoked, heirs = self._lifecycle.revoke(tx, found, int(self._clock()))
            active = store.find_active_version(tx, name)
            for one_of in revoked:
                self._event(tx, "revoked", one_of, trace)
            for heir in heirs:
                self._event(tx, "activated", heir, trace, reason="revocation")
        return active

    def export(self, name: str, version: int | None, password: str, *, trace: Trace) -> bytes:
        """A version with its private half as PKCS#12, encrypted under a password.

        Raises NotFound, InvalidInput (the password is too short), Conflict (it is only requested), Misconfigured.
        """
        if len(password) < MIN_PASSWORD_LENGTH or len(password.encode()) > MAX_PASSWORD_BYTES:
            raise refusal("password", f"at least {MIN_PASSWORD_LENGTH} characters, at most {MAX_PASSWORD_BYTES} bytes")
        with self._work.platform(writes=False) as tx:
            found = _find(store.list_versions(tx, name), version)
            if found.chain_pem is None:
                raise Conflict(f"Version {found.version} of {name} has no certificate ({found.state}).")
            key = self._lifecycle.open(tx, found)
        packed = making.pack(name, key, load_chain(found.chain_pem), password)
        self._audit.record_apart(happened("exported", found, trace))
        return packed

    def _requested_pin(self, name: str, material: Material) -> str:
        """The pin of the key that waits for its certificate."""
        with self._work.platform(writes=False) as tx:
            versions = store.list_versions(tx, name)
        require_new(name, versions, material.chain[0])
        requested = one(versions, "requested")
        if requested is None:
            raise refusal(
                "key", f"there is no private key in the file, and no request of {name!r} waits: give --key FILE"
            )
        if requested.pin not in {pin_of(found.public_key()) for found in material.chain}:
            problem = f"it is not for the key that was requested as version {requested.version}"
            raise refusal("certificate", f"{problem}: give its private key with --key FILE")
        return requested.pin

    def _require_sound(
        self, version: CertificateVersion, key: PrivateKey, *, usage: Usage
    ) -> tuple[x509.Certificate, ...]:
        """The chain, judged again: time has passed, and somebody may have changed the row. Raises Misconfigured."""
        called = f"version {version.version} of the certificate {version.name}"
        if version.usage != usage:
            raise Misconfigured([f"{called} is for the usage {version.usage}, not {usage}: name another certificate"])
        if version.is_development and self._lifecycle.policy.is_production:
            raise Misconfigured([f"{called} is for development: import a real one with payymo certificate import"])
        now = int(self._clock())
        if version.not_before is not None and now < version.not_before:
            raise Misconfigured([f"{called} is not valid before {when(version.not_before)}: look at the clock"])
        try:
            chain = load_chain(version.chain_pem or "")
            validate(chain, pin=pin_of(key.public_key()), usage=usage, now=now)
        except InvalidInput as error:
            raise Misconfigured([f"{called}: {found.detail}" for found in error.errors]) from None
        except ValueError:
            raise Misconfigured([f"{called} can't be read: it was changed in the database"]) from None
        return chain

    def _event(
        self, tx: Transaction, act: str, version: CertificateVersion, trace: Trace, *, reason: str | None = None
    ) -> None:
        self._audit.record(tx, happened(act, version, trace, reason=reason))


def happened(act: str, version: CertificateVersion, trace: Trace, *, reason: str | None = None) -> Event:
    """What goes on record of a certificate."""
    name, number = version.name, version.version
    return Event(f"certificate.{act}", trace=trace, certificate=name, version=number, reason=reason)


def require_name(name: str) -> None:
    """Raise InvalidInput unless certificates may have this name."""
    require_secret_name(name)
    if name == AUTHORITY:
        raise refusal("name", f"{AUTHORITY} is the development authority itself: take another name")


def _presented(chain: Sequence[x509.Certificate]) -> Sequence[x509.Certificate]:
    """Whoever trusts a root has it, and others won't because we send it."""
    return chain[:-1] if len(chain) > 1 and is_self_signed(chain[-1]) else chain


def _find(versions: tuple[CertificateVersion, ...], version: int | None) -> CertificateVersion:
    if version is None:
        found = one(versions, "active") or one(versions, "next") or one(versions, "requested")
    else:
        found = next((one_of for one_of in versions if one_of.version == version), None)
    if found is None:
        raise NotFound(NO_VERSION)
    return found
