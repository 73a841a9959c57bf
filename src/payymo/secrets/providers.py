"""Where named secrets are: the database, files, the environment, HashiCorp Vault. One interface, chosen by URI.

A secret has a name and versions 1, 2, …; the newest that is not retired is the one in use. What a version was can't be
got back once it is retired.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Literal, Protocol

from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Conflict, NotFound
from payymo.files import read_private, require_private_folder, write_once
from payymo.secrets import store
from payymo.secrets.envelope import Column, Envelope
from payymo.secrets.master import load_extra
from payymo.secrets.model import Access, Secret, SecretVersion, is_secret_name

PURPOSE: Final = "secrets"
IN_VAULT: Final = "payymo.secrets.vault_secrets"
"""Loaded when a URI names it: its library is an extra of the distribution."""
COLUMN: Final = Column(PURPOSE, store.list_sealed, store.count_sealed, store.reseal)


Change = Literal["put", "retired"]
RecordChange = Callable[[Transaction, Change, str, int], None]


class Provider(Protocol):
    """A place where secrets are."""

    def find(self, name: str, version: int | None) -> Secret | None:
        """A version, or the newest; None when there is none that is not retired. Raises Misconfigured."""
        ...

    def put(self, name: str, value: bytes) -> int:
        """Keep a new version. Answers its number. Raises Conflict where nothing can be written."""
        ...

    def list_versions(self) -> tuple[SecretVersion, ...]:
        """Every version, without values, by name and number."""
        ...

    def retire(self, name: str, version: int) -> bool:
        """Destroy the value of a version. False: there is none. Raises Conflict where nothing can be written."""
        ...


class DatabaseSecrets:
    """Secrets of a tenant, or of the service (`tenant_id` None), sealed in the database."""

    def __init__(
        self, work: Work, envelope: Envelope, clock: Clock, tenant_id: uuid.UUID | None, *, record: RecordChange
    ) -> None:
        """`record` puts a change on record, in the transaction of the change."""
        self._work = work
        self._envelope = envelope
        self._clock = clock
        self._tenant_id = tenant_id
        self._record = record

    def find(self, name: str, version: int | None) -> Secret | None:
        """See Provider. Raises SealBroken when somebody has changed, moved or swapped the row."""
        with self._reading() as tx:
            found = store.find_secret(tx, name, version)
            if found is None:
                return None
            number, sealed = found
            return Secret(name, number, self._envelope.open(tx, sealed, *store.secret_place(name, number)))

    def put(self, name: str, value: bytes) -> int:
        """See Provider."""
        with self._writing() as tx:
            self._envelope.require_tenant(tx)
            version = store.last_version(tx, name) + 1
            sealed = self._envelope.seal(tx, PURPOSE, value, *store.secret_place(name, version))
            store.add_secret(tx, name, version, sealed, now=int(self._clock()))
            self._record(tx, "put", name, version)
        return version

    def list_versions(self) -> tuple[SecretVersion, ...]:
        """See Provider."""
        with self._reading() as tx:
            return store.list_secrets(tx)

    def retire(self, name: str, version: int) -> bool:
        """See Provider."""
        with self._writing() as tx:
            if is_retired := store.retire_secret(tx, name, version, now=int(self._clock())):
                self._record(tx, "retired", name, version)
        return is_retired

    def _reading(self) -> AbstractContextManager[Transaction]:
        return self._work.platform(writes=False) if self._tenant_id is None else self._work.reading(self._tenant_id)

    def _writing(self) -> AbstractContextManager[Transaction]:
        return self._work.platform() if self._tenant_id is None else self._work(self._tenant_id)


class FileSecrets:
    """Secrets in a folder: version 1 in the file `name`, version n in `name.vn`, as containers are given them.

    Files that others may read or write are refused, and so is a folder where others may put some.
    """

    _FILE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*?)(?:\.v(?P<version>[1-9][0-9]{0,8}))?(?P<retired>\.retired)?")

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._folder = folder
        self._entropy = entropy

    def find(self, name: str, version: int | None) -> Secret | None:
        """See Provider."""
        alive = [found.version for found in self.list_versions() if found.name == name and found.retired_at is None]
        number = max(alive, default=None) if version is None else version
        if number is None or number not in alive:
            return None
        return Secret(name, number, read_private(self._path(name, number), group_may_read=True))

    def put(self, name: str, value: bytes) -> int:
        """See Provider. The whole file is there, or nothing."""
        version = 1 + max((found.version for found in self.list_versions() if found.name == name), default=0)
        try:
            written = write_once(self._path(name, version), value, self._entropy)
        except OSError as error:
            raise Conflict(f"{self._folder}: nothing can be written there ({error.strerror}).") from None
        is_retired = self._marker(name, version).exists()  # somebody has put this version and retired it meanwhile
        if written and is_retired:
            self._remove(name, version)
        if not written or is_retired:
            raise Conflict("Somebody has put another version at the same moment. Please try again.")
        return version

    def list_versions(self) -> tuple[SecretVersion, ...]:
        """See Provider."""
        require_private_folder(self._folder)
        found: dict[tuple[str, int], SecretVersion] = {}
        for path in sorted(self._folder.iterdir()):  # `name.v1.retired` after `name.v1`: what is retired stays so
            shape = self._FILE.fullmatch(path.name)
            if shape is None or not is_secret_name(shape["name"]) or not path.is_file():
                continue
            with contextlib.suppress(FileNotFoundError):  # retired this moment
                seconds, key = int(path.stat().st_mtime), (shape["name"], int(shape["version"] or 1))
                if shape["retired"]:
                    found[key] = SecretVersion(*key, None, seconds)
                elif key not in found or found[key].retired_at is None:
                    found[key] = SecretVersion(*key, seconds)
        return tuple(found[key] for key in sorted(found))

    def retire(self, name: str, version: int) -> bool:
        """See Provider. An empty file stays, so that the number is never given to another value."""
        found = self.find(name, version) is not None
        try:
            if found:
                write_once(self._marker(name, version), b"", self._entropy)
            if self._marker(name, version).exists():  # also what a retirement that was killed has left
                self._remove(name, version)
        except OSError as error:
            raise Conflict(f"{self._folder}: nothing can be written there ({error.strerror}).") from None
        return found

    def _marker(self, name: str, version: int) -> Path:
        return self._folder / f"{name}.v{version}.retired"

    def _remove(self, name: str, version: int) -> None:
        (self._folder / f"{name}.v{version}").unlink(missing_ok=True)
        if version == 1:
            (self._folder / name).unlink(missing_ok=True)

    def _path(self, name: str, version: int) -> Path:
        plain, numbered = self._folder / name, self._folder / f"{name}.v{version}"
        return plain if version == 1 and not numbered.exists() else numbered


class EnvironmentSecrets:
    """Secrets in variables: version 1 of `smtp-password` in `{prefix}SMTP_PASSWORD`, version n with `_Vn` behind it."""

    def __init__(self, prefix: str, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._variable = re.compile(rf"{re.escape(prefix)}(?P<name>[A-Z0-9_]+?)(?:_V(?P<version>[1-9][0-9]*))?")

    def find(self, name: str, version: int | None) -> Secret | None:
        """See Provider."""
        numbers = {found.version: value for found, value in self._all() if found.name == _as_variable(name)}
        number = max(numbers, default=None) if version is None else version
        return None if number is None or number not in numbers else Secret(name, number, os.fsencode(numbers[number]))

    def put(self, name: str, value: bytes) -> int:
        """See Provider: it can't."""
        del name, value
        raise Conflict("Variables can't be written from here: set them where the service is started.")

    def list_versions(self) -> tuple[SecretVersion, ...]:
        """See Provider. Names are spelt with dashes: which other signs they had, a variable doesn't tell."""
        found = [(version.name.lower().replace("_", "-"), version.version) for version, _ in self._all()]
        return tuple(SecretVersion(name, version, None) for name, version in sorted(found))

    def retire(self, name: str, version: int) -> bool:
        """See Provider: it can't."""
        del name, version
        raise Conflict("Variables can't be removed from here: remove them where the service is started.")

    def _all(self) -> list[tuple[SecretVersion, str]]:
        shapes = [(self._variable.fullmatch(name), value) for name, value in self._environment.items() if value]
        return [
            (SecretVersion(shape["name"], int(shape["version"] or 1), None), value) for shape, value in shapes if shape
        ]


def _as_variable(name: str) -> str:
    return re.sub("[.-]", "_", name).upper()


class Places:
    """Opens the provider that a URI names."""

    def __init__(self, work: Work, envelope: Envelope, clock: Clock, entropy: Entropy, access: Access) -> None:
        self._work = work
        self._envelope = envelope
        self._clock = clock
        self._entropy = entropy
        self._access = access
        self._in_vault: dict[str, Provider] = {}

    def open(self, uri: str, tenant_id: uuid.UUID | None, *, record: RecordChange) -> Provider:
        """The provider: `database:`, `file:/folder`, `env:PREFIX_`, `vault:MOUNT/PREFIX`.

        Only the database knows tenants: elsewhere whoever gives out the folder or the prefix walls them off. And only
        the database has a transaction in which to `record` a change. Raises
        NotFound for another URI, Misconfigured where the settings lack what Vault needs.
        """
        scheme, separator, rest = uri.partition(":")
        match scheme:
            case "database" if separator and not rest:
                return DatabaseSecrets(self._work, self._envelope, self._clock, tenant_id, record=record)
            case "file" if rest:
                return FileSecrets(Path(rest), self._entropy)
            case "env" if separator:
                return EnvironmentSecrets(rest)
            case "vault" if rest:
                return self._open_vault(uri)
            case _:
                known = "database:, file:/folder, env:PREFIX_ or vault:MOUNT/PREFIX"
                raise NotFound(f"There are no secrets at {scheme}: use {known}.")

    def _open_vault(self, uri: str) -> Provider:
        """The same one each time: it holds connections."""
        if uri not in self._in_vault:
            module = load_extra(IN_VAULT, "vault", uri)
            self._in_vault[uri] = module.open_secrets(uri, self._access, self._clock)
        return self._in_vault[uri]
