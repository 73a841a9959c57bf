"""Named, versioned secrets, wherever they are. Who asked for which version is logged; no value ever is."""

import uuid

from payymo.audit.log import AuditLog
from payymo.db.work import Transaction
from payymo.errors import NotFound, PayymoError
from payymo.logs import Event, Trace
from payymo.secrets.model import MAX_VERSION, Secret, SecretVersion, require_secret_name, require_secret_value
from payymo.secrets.providers import Change, DatabaseSecrets, Places, Provider

DATABASE = "database:"


class Secrets:
    """The secrets of the service, and of its tenants."""

    def __init__(self, places: Places, audit: AuditLog) -> None:
        self._places = places
        self._audit = audit

    def get(
        self,
        name: str,
        version: int | None = None,
        *,
        tenant_id: uuid.UUID | None = None,
        at: str = DATABASE,
        trace: Trace,
    ) -> Secret:
        """A version, or the newest.

        Raises NotFound, InvalidInput, Misconfigured (others could write where it is), SealBroken.
        """
        require_secret_name(name)
        version = None if version is None else min(version, MAX_VERSION)  # more than there will ever be
        try:
            found = self._open(at, tenant_id, trace).find(name, version)
            if found is None:
                raise NotFound("There is no such secret, or it is retired.")
        except PayymoError as error:
            self._audit.tell(
                Event(
                    "secret.read",
                    "refused",
                    trace=trace,
                    tenant_id=tenant_id,
                    secret=name,
                    version=version,
                    reason=error.code,
                )
            )
            raise
        self._audit.tell(Event("secret.read", trace=trace, tenant_id=tenant_id, secret=name, version=found.version))
        return found

    def put(
        self, name: str, value: bytes, *, tenant_id: uuid.UUID | None = None, at: str = DATABASE, trace: Trace
    ) -> int:
        """Keep a new version, which is the one in use from now on. Answers its number.

        Raises InvalidInput, Conflict (another one at the same moment, or nothing can be written there), Misconfigured.
        """
        require_secret_name(name)
        provider = self._open(at, tenant_id, trace)
        version = provider.put(name, require_secret_value(value))
        self._note(provider, Event("secret.put", trace=trace, tenant_id=tenant_id, secret=name, version=version))
        return version

    def list_versions(self, *, tenant_id: uuid.UUID | None = None, at: str = DATABASE) -> tuple[SecretVersion, ...]:
        """Every version, without values. Raises Misconfigured."""
        return self._open(at, tenant_id, Trace()).list_versions()

    def retire(
        self, name: str, version: int, *, tenant_id: uuid.UUID | None = None, at: str = DATABASE, trace: Trace
    ) -> None:
        """Destroy the value of a version. Raises NotFound, Conflict, Misconfigured."""
        require_secret_name(name)
        provider = self._open(at, tenant_id, trace)
        if version > MAX_VERSION or not provider.retire(name, version):
            raise NotFound("There is no such secret, or it is retired.")
        self._note(provider, Event("secret.retired", trace=trace, tenant_id=tenant_id, secret=name, version=version))

    def _note(self, provider: Provider, event: Event) -> None:
        """Put on record what somebody else keeps; our own database has done so in the transaction of the change."""
        if not isinstance(provider, DatabaseSecrets):
            self._audit.record_apart(event)

    def _open(self, at: str, tenant_id: uuid.UUID | None, trace: Trace) -> Provider:
        def record(tx: Transaction, change: Change, name: str, version: int) -> None:
            self._audit.record(tx, Event(f"secret.{change}", trace=trace, secret=name, version=version))

        return self._places.open(at, tenant_id, record=record)
