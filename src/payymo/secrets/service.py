"""Named, versioned secrets, wherever they are. Who asked for which version is logged; no value ever is."""

import uuid

from payymo.errors import NotFound, PayymoError
from payymo.logs import SecurityLog, Trace
from payymo.secrets.model import MAX_VERSION, Secret, SecretVersion, require_secret_name, require_secret_value
from payymo.secrets.providers import Places, Provider

DATABASE = "database:"


class Secrets:
    """The secrets of the service, and of its tenants."""

    def __init__(self, places: Places, log: SecurityLog) -> None:
        self._places = places
        self._log = log

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
            found = self._open(at, tenant_id).find(name, version)
            if found is None:
                raise NotFound("There is no such secret, or it is retired.")
        except PayymoError as error:
            self._log.event(
                "secret.read",
                "refused",
                trace=trace,
                tenant_id=tenant_id,
                secret=name,
                version=version,
                reason=error.code,
            )
            raise
        self._log.event("secret.read", "success", trace=trace, tenant_id=tenant_id, secret=name, version=found.version)
        return found

    def put(
        self, name: str, value: bytes, *, tenant_id: uuid.UUID | None = None, at: str = DATABASE, trace: Trace
    ) -> int:
        """Keep a new version, which is the one in use from now on. Answers its number.

        Raises InvalidInput, Conflict (another one at the same moment, or nothing can be written there), Misconfigured.
        """
        require_secret_name(name)
        version = self._open(at, tenant_id).put(name, require_secret_value(value))
        self._log.event("secret.put", "success", trace=trace, tenant_id=tenant_id, secret=name, version=version)
        return version

    def list_versions(self, *, tenant_id: uuid.UUID | None = None, at: str = DATABASE) -> tuple[SecretVersion, ...]:
        """Every version, without values. Raises Misconfigured."""
        return self._open(at, tenant_id).list_versions()

    def retire(
        self, name: str, version: int, *, tenant_id: uuid.UUID | None = None, at: str = DATABASE, trace: Trace
    ) -> None:
        """Destroy the value of a version. Raises NotFound, Conflict, Misconfigured."""
        require_secret_name(name)
        if version > MAX_VERSION or not self._open(at, tenant_id).retire(name, version):
            raise NotFound("There is no such secret, or it is retired.")
        self._log.event("secret.retired", "success", trace=trace, tenant_id=tenant_id, secret=name, version=version)

    def _open(self, at: str, tenant_id: uuid.UUID | None) -> Provider:
        return self._places.open(at, tenant_id)
