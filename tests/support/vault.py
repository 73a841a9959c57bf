"""A double of HashiCorp Vault, as its documents describe it: KV version 2, Transit, tokens and policies, the seal.

"KV secrets engine - version 2 (API)", "Transit secrets engine (API)", "HTTP API" (status codes, namespaces, errors as
`{"errors": […]}`), "Policies" (capabilities by path). It answers what Payymo asks; what operators do, tests do by its
methods. It is no Vault: what the documents don't say, it can't know.
"""

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ROOT = "hvs.root-token"
Body = dict[str, Any]
Reply = tuple[int, Mapping[str, str], bytes]
Policy = Mapping[str, set[str]]


class Refusal(Exception):
    """An answer that says no."""

    def __init__(self, status: int, *errors: str, body: Body | None = None) -> None:
        self.status = status
        self.body = body if body is not None else {"errors": list(errors)}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, and the port it came from."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body
    port: int


@dataclass(slots=True)
class Entry:
    """A secret of KV version 2, with its versions."""

    current: int = 0
    values: dict[int, Body] = field(default_factory=dict)
    facts: dict[int, Body] = field(default_factory=dict)


@dataclass(slots=True)
class Key:
    """A key of Transit, with its versions and its flags."""

    versions: dict[int, bytes]
    facts: Body


class FakeVault:
    """What is in Vault, and what it answers. `clock` gives its time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.tokens: dict[str, Policy] = {ROOT: {"*": {"create", "read", "update", "delete", "list"}}}
        self.namespace: str | None = None
        self.is_sealed = False
        self.is_down = False
        """Connections are taken and cut: nothing is answered, and nothing done."""
        self.knows_associated_data = True
        self.max_versions = 10
        self.entries: dict[str, Entry] = {}
        self.keys: dict[str, Key] = {}
        self.seen: list[Seen] = []
        self.instead: Callable[[Seen], Reply | None] = lambda _seen: None
        """Asked before anything is done: another reply than that of a sound Vault."""
        self.before: Callable[[Seen], object] = lambda _seen: None
        """Called before anything is done, without the lock."""

    # What operators do.

    def make_key(self, name: str = "payymo", **facts: Any) -> None:
        """`vault write -f transit/keys/NAME …`."""
        known = {"type": "aes256-gcm96", "derived": False, "exportable": False, "allow_plaintext_backup": False}
        more = {"deletion_allowed": False, "min_decryption_version": 1, "min_encryption_version": 0, "name": name}
        self.keys[name] = Key({1: os.urandom(32)}, known | more | facts)

    def rotate_key(self, name: str = "payymo") -> None:
        """`vault write -f transit/keys/NAME/rotate`."""
        versions = self.keys[name].versions
        versions[max(versions) + 1] = os.urandom(32)

    # What is answered.

    def answer(self, seen: Seen) -> Reply:
        """Do what was asked. The lock is Vault's promise that check-and-set is one step."""
        with self.lock:
            if (other := self.instead(seen)) is not None:
                return other
            try:
                body = self._do(seen)
            except Refusal as refusal:
                return _reply(refusal.status, refusal.body)
        return _reply(204, None) if body is None else _reply(200, _wrapped(body))

    def _do(self, seen: Seen) -> Body | None:
        if self.is_sealed:
            raise Refusal(503, "Vault is sealed")
        if seen.headers.get("X-Vault-Namespace") != self.namespace:
            raise Refusal(403, "permission denied")
        mount, _, rest = seen.path.partition("/")
        kind, _, name = rest.partition("/")
        wanted = self._capability(seen, kind, name)
        self._require(seen, wanted)
        match mount:
            case "secret":
                return self._kv(kind, wanted, name, seen)
            case "transit":
                return self._transit(kind, name, seen)
            case _:
                raise Refusal(404, f'no handler for route "{seen.path}". route entry not found.')

    def _capability(self, seen: Seen, kind: str, name: str) -> str:
        if seen.method == "LIST" or (seen.method == "GET" and seen.query.get("list") == "true"):
            return "list"
        exists = name in self.entries if kind == "data" else name in self.keys
        creates = kind in {"data", "encrypt"} and not exists
        return {"GET": "read", "DELETE": "delete"}.get(seen.method, "create" if creates else "update")

    def _require(self, seen: Seen, wanted: str) -> None:
        policy = self.tokens.get(seen.headers.get("X-Vault-Token", ""))
        if policy is None:
            raise Refusal(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
        path = f"{seen.path}/" if wanted == "list" else seen.path
        rules = [rule for rule in policy if rule == path or (rule.endswith("*") and path.startswith(rule[:-1]))]
        if not rules or wanted not in policy[max(rules, key=len)]:
            raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    # KV version 2.

    def _kv(self, kind: str, wanted: str, name: str, seen: Seen) -> Body | None:
        match kind, wanted:
            case "data", "read":
                return self._read(name, int(seen.query.get("version", "0")))
            case "data", "create" | "update":
                return self._write(name, seen.body)
            case "metadata", "read":
                return self._metadata(name)
            case "metadata", "list":
                return self._list(f"{name.rstrip('/')}/" if name.rstrip("/") else "")
            case "delete" | "destroy", "update":
                self._end(kind, name, [int(number) for number in seen.body["versions"]])
                return None
            case _:
                raise Refusal(405, "unsupported operation")

    def _read(self, name: str, version: int) -> Body:
        entry = self.entries.get(name, Entry())
        number = version if version > 0 else entry.current
        if number not in entry.facts:
            raise Refusal(404)
        facts = {"version": number, "custom_metadata": None, **entry.facts[number]}
        if facts["destroyed"] or (facts["deletion_time"] and facts["deletion_time"] <= self.now()):
            raise Refusal(404, body=_wrapped({"data": None, "metadata": facts}))
        return {"data": entry.values[number], "metadata": facts}

    def _write(self, name: str, body: Body) -> Body:
        entry, cas = self.entries.get(name, Entry()), body.get("options", {}).get("cas")
        if cas is not None and cas != entry.current:
            raise Refusal(400, "check-and-set parameter did not match the current version")
        entry.current += 1
        entry.values[entry.current] = body["data"]
        entry.facts[entry.current] = {"created_time": self.now(), "deletion_time": "", "destroyed": False}
        for old in [number for number in entry.facts if number <= entry.current - self.max_versions]:
            del entry.facts[old], entry.values[old]
        self.entries[name] = entry
        return {"version": entry.current, "custom_metadata": None, **entry.facts[entry.current]}

    def _metadata(self, name: str) -> Body:
        entry = self.entries.get(name)
        if entry is None:
            raise Refusal(404)
        versions = {str(number): dict(facts) for number, facts in entry.facts.items()}
        oldest = min(entry.facts, default=0)
        return {"current_version": entry.current, "oldest_version": oldest, "max_versions": 0, "versions": versions}

    def _list(self, folder: str) -> Body:
        inside = [name.removeprefix(folder) for name in self.entries if name.startswith(folder)]
        if not inside:
            raise Refusal(404)
        return {"keys": sorted({name if "/" not in name else name.split("/")[0] + "/" for name in inside})}

    def _end(self, kind: str, name: str, versions: list[int]) -> None:
        for number in versions:
            facts = self.entries.get(name, Entry()).facts.get(number)
            if facts is None or facts["destroyed"]:
                continue
            facts.update({"destroyed": True} if kind == "destroy" else {"deletion_time": self.now()})
            if kind == "destroy":
                self.entries[name].values.pop(number)

    def now(self) -> str:
        """The time as Vault writes it, with nanoseconds."""
        return datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f789Z")

    # Transit.

    def _transit(self, kind: str, name: str, seen: Seen) -> Body:
        if kind == "encrypt" and name not in self.keys and seen.method != "GET":
            self.make_key(name)  # with the capability "create": an upsert; without it, it was refused before
        key = self.keys.get(name)
        if key is None:
            raise Refusal(404) if kind == "keys" else Refusal(400, "encryption key not found")
        match kind:
            case "keys":
                latest = max(key.versions)
                created = {str(number): int(self.clock()) for number in key.versions}
                return key.facts | {"latest_version": latest, "keys": created, "supports_encryption": True}
            case "encrypt":
                latest, nonce = max(key.versions), os.urandom(12)
                plain = base64.b64decode(seen.body["plaintext"], validate=True)
                sealed = nonce + AESGCM(key.versions[latest]).encrypt(nonce, plain, self._associated(seen.body))
                return {"ciphertext": f"vault:v{latest}:{base64.b64encode(sealed).decode()}", "key_version": latest}
            case "decrypt":
                return {"plaintext": base64.b64encode(self._decrypt(key, seen.body)).decode()}
            case _:
                raise Refusal(404, f'no handler for route "{seen.path}". route entry not found.')

    def _decrypt(self, key: Key, body: Body) -> bytes:
        shape = re.fullmatch(r"vault:v([0-9]+):(.*)", body["ciphertext"])
        if shape is None:
            raise Refusal(400, "invalid ciphertext: no prefix")
        version = int(shape[1]) or 1
        if version > max(key.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        if version < key.facts["min_decryption_version"]:
            raise Refusal(400, "ciphertext or signature version is disallowed by policy (too old)")
        sealed = base64.b64decode(shape[2])  # as Go's decoder: bits that stand for nothing are let pass
        try:
            return AESGCM(key.versions[version]).decrypt(sealed[:12], sealed[12:], self._associated(body))
        except (InvalidTag, ValueError):
            raise Refusal(400, "cipher: message authentication failed") from None

    def _associated(self, body: Body) -> bytes | None:
        return base64.b64decode(body["associated_data"], validate=True) if self.knows_associated_data else None


def _wrapped(data: Body) -> Body:
    rest = {"request_id": "d9c2f0b2", "lease_id": "", "renewable": False, "lease_duration": 0}
    return rest | {"data": data, "wrap_info": None, "warnings": None, "auth": None}


def _reply(status: int, body: Body | None) -> Reply:
    return status, {"Content-Type": "application/json"}, b"" if body is None else json.dumps(body).encode()
