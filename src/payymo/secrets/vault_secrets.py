"""HashiCorp Vault keeps named secrets, in KV version 2.

The protocol is that of the document "KV secrets engine - version 2 (API)"; its sections are named where they matter.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from payymo.clock import Clock
from payymo.errors import Conflict, Misconfigured, NotFound
from payymo.secrets.model import MAX_SECRET_BYTES, MAX_VERSION, Access, Secret, SecretVersion, is_secret_name
from payymo.secrets.vault_http import PATH, Answer, Vault, connect, decode, encode

TEXT: Final = "value"
"""The field of a value that is UTF-8: as it is, so that `vault kv get -field=value` shows it, and `put` can set it."""
OCTETS: Final = "value_base64"
"""The field of any other value."""
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")

AskKv = Callable[[Any, str], Any]
"""Asks the library's interface of KV version 2 about a path, which it puts behind `data/`, `metadata/` and so on."""


class VaultSecrets:
    """Secrets in KV version 2: `name` at `MOUNT/PREFIX/name`, with the versions that Vault gives.

    A version that was deleted is retired, also where it could be undeleted. Versions above the engine's `max_versions`
    are forgotten by Vault, the oldest first: they are not there, not even as retired.
    """

    def __init__(self, vault: Vault, mount: str, prefix: str, clock: Clock) -> None:
        self._vault = vault
        self._mount = mount
        self._prefix = f"{prefix}/" if prefix else ""
        self._clock = clock

    def find(self, name: str, version: int | None) -> Secret | None:
        """See Provider. Raises Misconfigured, Unavailable."""
        if version is not None:
            return self._read(name, version) if 1 <= version <= MAX_VERSION else None  # 0 would be the newest
        if (newest := self._read(name, None)) is not None:
            return newest
        for number in sorted(self._alive(name), reverse=True):  # the next one, if the newest is retired meanwhile
            if (found := self._read(name, number)) is not None:
                return found
        return None

    def put(self, name: str, value: bytes) -> int:
        """See Provider. Raises Conflict when somebody else was faster (check-and-set), Misconfigured, Unavailable."""
        current = self._metadata(name).get("current_version", 0)
        if not isinstance(current, int) or not 0 <= current < MAX_VERSION:
            raise Conflict(f"There is no version after {MAX_VERSION}.")
        fields = _as_fields(value)
        path = f"data/{self._prefix}{name}"
        answer = self._call(
            "create and update",
            path,
            lambda kv, at: kv.create_or_update_secret(at, fields, cas=current, **self._at),
        )
        if answer.status == 400 and answer.mentions("check-and-set"):
            raise Conflict("Somebody has put another version at the same moment. Please try again.")
        if answer.data.get("version") != current + 1:
            raise self._unexpected(answer, path)
        return current + 1

    def list_versions(self) -> tuple[SecretVersion, ...]:
        """See Provider. Raises Misconfigured, Unavailable."""
        answer = self._call("list", f"metadata/{self._prefix}", lambda kv, path: kv.list_secrets(path, **self._at))
        keys = [] if answer.status == 404 else answer.data.get("keys") if answer.status == 200 else None
        if not isinstance(keys, list):
            raise self._unexpected(answer, f"metadata/{self._prefix}")
        found: list[SecretVersion] = []
        for name in sorted(name for name in keys if isinstance(name, str) and is_secret_name(name)):
            found += (self._version(name, *fact) for fact in sorted(self._versions(name).items()))
        return tuple(found)

    def retire(self, name: str, version: int) -> bool:
        """See Provider. Raises Misconfigured, Unavailable.

        Deleted first, so that Vault keeps the time, then destroyed (sections "Delete secret versions", "Destroy secret
        versions"). One that was only deleted could be undeleted: it is destroyed all the same, and that is a success.
        """
        known = self._versions(name).get(version)
        if known is None or known.get("destroyed") is True:
            return False
        path = f"{self._prefix}{name}"
        if self._retired_at(known) is None:
            self._done(f"delete/{path}", lambda kv, at: kv.delete_secret_versions(at, [version], **self._at))
        self._done(f"destroy/{path}", lambda kv, at: kv.destroy_secret_versions(at, [version], **self._at))
        return True

    @property
    def _at(self) -> dict[str, str]:
        return {"mount_point": self._mount}

    def _read(self, name: str, version: int | None) -> Secret | None:
        path = f"data/{self._prefix}{name}"
        answer = self._call(
            "read",
            path,
            lambda kv, at: kv.read_secret_version(at, version, raise_on_deleted_version=True, **self._at),
        )
        if answer.status == 404:
            return None
        fields, facts = answer.data.get("data"), answer.data.get("metadata")
        if answer.status != 200 or not isinstance(fields, dict) or not isinstance(facts, dict):
            raise self._unexpected(answer, path)
        number, value = facts.get("version"), _from_fields(fields)
        if not isinstance(number, int) or (version is not None and number != version):
            raise self._unexpected(answer, path)
        if value is None:
            raise Misconfigured([self._vault.says(f"{self._mount}/{path}", f"needs one field, {TEXT} or {OCTETS}")])
        if not 0 < len(value) <= MAX_SECRET_BYTES:
            raise Misconfigured([self._vault.says(f"{self._mount}/{path}", f"not 1 to {MAX_SECRET_BYTES} bytes")])
        return Secret(name, number, value)

    def _metadata(self, name: str) -> Mapping[str, Any]:
        path = f"metadata/{self._prefix}{name}"
        answer = self._call("read", path, lambda kv, at: kv.read_secret_metadata(at, **self._at))
        if answer.status == 404:
            return {}
        if answer.status != 200 or not isinstance(answer.data.get("versions"), dict):
            raise self._unexpected(answer, path)
        return answer.data

    def _versions(self, name: str) -> dict[int, Mapping[str, Any]]:
        versions = self._metadata(name).get("versions", {})
        return {
            int(number): known
            for number, known in versions.items()
            if _NUMBER.fullmatch(number) and isinstance(known, dict)
        }

    def _alive(self, name: str) -> list[int]:
        return [number for number, known in self._versions(name).items() if self._retired_at(known) is None]

    def _version(self, name: str, number: int, known: Mapping[str, Any]) -> SecretVersion:
        return SecretVersion(name, number, _seconds(known.get("created_time")), self._retired_at(known))

    def _retired_at(self, known: Mapping[str, Any]) -> int | None:
        """When it was deleted. That may lie ahead (`delete_version_after`): then it is not retired yet.

        What was destroyed without being deleted has no such time; then it is that of its creation: no later one is
        known, and it must not look alive.
        """
        deleted = _seconds(known.get("deletion_time"))
        if known.get("destroyed") is True:
            return deleted if deleted is not None else _seconds(known.get("created_time")) or 0
        return deleted if deleted is not None and deleted <= self._clock() else None

    def _done(self, path: str, ask: AskKv) -> None:
        answer = self._call("update", path, ask)
        if answer.status != 204:
            raise self._unexpected(answer, path)

    def _call(self, capability: str, path: str, ask: AskKv) -> Answer:
        """Ask with the KV interface and the path behind its kind. Raises Misconfigured: refused, or no such engine."""
        what, inner = f"{capability} on {self._mount}/{path}", path.split("/", 1)[1]
        answer = self._vault.call(what, lambda client: ask(client.secrets.kv.v2, inner))
        if answer.status == 403:
            raise Misconfigured([self._vault.denied(what)])
        if answer.status == 404 and answer.mentions("no handler for route"):
            raise Misconfigured([self._vault.says(what, f"there is no secrets engine at {self._mount}")])
        return answer

    def _unexpected(self, answer: Answer, path: str) -> Misconfigured:
        why = f"an answer ({answer.status}) that KV version 2 doesn't give: is it version 1?"
        return Misconfigured([self._vault.says(f"{self._mount}/{path}", why)])


def _as_fields(value: bytes) -> dict[str, str]:
    try:
        return {TEXT: value.decode()}
    except UnicodeDecodeError:
        return {OCTETS: encode(value)}


def _from_fields(fields: Mapping[str, Any]) -> bytes | None:
    text, octets = fields.get(TEXT), fields.get(OCTETS)
    if isinstance(text, str) and octets is None:
        with contextlib.suppress(UnicodeEncodeError):  # half a surrogate pair: JSON can write it
            return text.encode()
    if isinstance(octets, str) and text is None:
        return decode(octets)
    return None


def _seconds(time: object) -> int | None:
    """An RFC 3339 time. Vault writes nanoseconds, of which we need none, and "" for no time."""
    if not isinstance(time, str) or not time:
        return None
    try:
        return int(datetime.fromisoformat(re.sub(r"\.[0-9]+", "", time)).timestamp())
    except ValueError:
        return None


def open_secrets(uri: str, access: Access, clock: Clock) -> VaultSecrets:
    """The secrets that `vault:MOUNT/PREFIX` names; PREFIX may be empty. Raises NotFound, Misconfigured."""
    mount, _, prefix = uri.removeprefix("vault:").partition("/")
    if PATH.fullmatch(mount) is None or (prefix and PATH.fullmatch(prefix) is None):
        raise NotFound("There are no such secrets in Vault: write vault:MOUNT or vault:MOUNT/PREFIX.")
    return VaultSecrets(connect(access, uri), mount, prefix, clock)
