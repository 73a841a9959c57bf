"""HashiCorp Vault wraps data keys, in Transit: the master key never leaves it.

The protocol is that of the document "Transit secrets engine (API)", sections "Read key", "Encrypt data" and "Decrypt
data".
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from payymo.entropy import Entropy
from payymo.errors import Misconfigured, Unavailable
from payymo.secrets.encryption import SealBroken, TooOld, bind
from payymo.secrets.model import Access, MasterKey
from payymo.secrets.vault_http import PATH, Answer, Vault, connect, decode, encode

_OLD: Final = "sealed under a version that is older than min_decryption_version"
KEY_TYPE: Final = "aes256-gcm96"
_SEALED = re.compile(r"vault:v[1-9][0-9]{0,8}:(?P<data>[A-Za-z0-9+/]+={0,2})")
_IRREVERSIBLE: Final = {
    "exportable": "it can be exported, so a copy of it may be anywhere",
    "allow_plaintext_backup": "it can be backed up in plain, so a copy of it may be anywhere",
}


class TransitWrapper:
    """Seals and opens data keys with a key of Transit, which never leaves Vault.

    A sealed value is what Vault gives, `vault:v1:…`, and opens under each version of the key that Vault still has: its
    own rotation of the key needs nothing from us.
    """

    def __init__(self, vault: Vault, mount: str, name: str) -> None:
        self._vault = vault
        self._mount = mount
        self._name = name

    def seal(self, value: bytes, *place: str) -> bytes:
        """See Wrapper."""
        texts = {"plaintext": encode(value), "associated_data": encode(bind(place))}
        answer = self._call(
            "encrypt", lambda transit: transit.encrypt_data(self._name, mount_point=self._mount, **texts)
        )
        sealed = answer.data.get("ciphertext")
        if answer.status != 200 or not isinstance(sealed, str) or not _is_sealed(sealed):
            raise Unavailable(private=self._says("encrypt", f"nothing sealed is in its answer ({answer.status})"))
        return sealed.encode()

    def open(self, sealed: bytes, *place: str) -> bytes:
        """See Wrapper."""
        text, where = sealed.decode("ascii", "replace"), "/".join(place)
        if not _is_sealed(text):
            raise SealBroken(private=f"{where}: not sealed by Vault")
        texts = {"ciphertext": text, "associated_data": encode(bind(place))}
        answer = self._call(
            "decrypt", lambda transit: transit.decrypt_data(self._name, mount_point=self._mount, **texts)
        )
        if answer.status == 400:
            key = f"{self._mount}/{self._name}"
            if answer.mentions("too old"):
                raise TooOld(private=f"{where}: {_OLD} of {key} of Vault: lower that again")
            raise SealBroken(private=f"{where}: does not open under {key} of Vault")
        plain = answer.data.get("plaintext")
        value = decode(plain) if answer.status == 200 and isinstance(plain, str) else None
        if value is None:
            raise Unavailable(private=self._says("decrypt", f"nothing opened is in its answer ({answer.status})"))
        return value

    def find_facts(self) -> Mapping[str, Any] | None:
        """What Vault tells of the key, which is not the key; None when there is none. Raises Unavailable."""
        answer = self._call("keys", lambda transit: transit.read_key(self._name, mount_point=self._mount))
        return answer.data if answer.status == 200 else None

    def _call(self, verb: str, ask: Callable[[Any], Any]) -> Answer:
        try:
            answer = self._vault.call(self._what(verb), lambda client: ask(client.secrets.transit))
        except Misconfigured as error:  # the token's file, whose remedy is in the reason
            raise Unavailable(private="; ".join(error.reasons)) from None
        if answer.status == 403:
            raise Unavailable(private=self._vault.denied(self._what(verb)))
        if answer.status == 404 and (verb != "keys" or answer.mentions("no handler for route")):
            raise Unavailable(private=self._says(verb, f"there is no Transit engine at {self._mount}"))
        return answer

    def _what(self, verb: str) -> str:
        return f"{'read' if verb == 'keys' else 'update'} on {self._mount}/{verb}/{self._name}"

    def _says(self, verb: str, why: str) -> str:
        return self._vault.says(self._what(verb), why)


def open_master_key(uri: str, source: str, access: Access, entropy: Entropy) -> MasterKey:
    """The master key that `vault:MOUNT/KEYNAME` names. Its id is that of the name, at whatever address Vault is.

    It has proved by then that it seals and opens, and only where it was sealed for. Raises Misconfigured.
    """
    mount, _, name = uri.removeprefix("vault:").rpartition("/")
    if PATH.fullmatch(mount) is None or PATH.fullmatch(name) is None:
        raise Misconfigured([f"{source}: write vault:MOUNT/KEYNAME, such as vault:transit/payymo"])
    wrapper = TransitWrapper(connect(access, source), mount, name)
    try:
        objections = _objections(
            wrapper.find_facts(), f"{source}: the key {mount}/{name} of Vault", f"{mount}/keys/{name}"
        )
        _prove(wrapper, source, entropy)
    except Unavailable as error:
        raise Misconfigured([f"{source}: {error.private}"]) from None
    key_id = hashlib.sha256(bind(("payymo master key id", "vault", mount, name))).hexdigest()[:32]
    return MasterKey(key_id, source, False, wrapper, objections)  # noqa: FBT003 - not a development key


def _objections(facts: Mapping[str, Any] | None, key: str, path: str) -> tuple[str, ...]:
    """Why the key should not be put to use. Raises Misconfigured: it can't be used at all."""
    if facts is None:
        why = "restore it from Vault's backup, and make no other one: nothing would open under that"
        raise Misconfigured(
            [f"{key} is not there. Has anything been sealed under it, {why}. If not: vault write -f {path}"]
        )
    if facts.get("type") != KEY_TYPE or facts.get("derived") is True:
        raise Misconfigured([f"{key} is not of the type {KEY_TYPE} without derivation. Make another one"])
    found = [f"{key}: {why}. Make another one" for fact, why in _IRREVERSIBLE.items() if facts.get(fact) is not False]
    if facts.get("deletion_allowed") is not False:
        found.append(f"{key} may be deleted. Forbid it with: vault write {path}/config deletion_allowed=false")
    return tuple(found)


def _prove(wrapper: TransitWrapper, source: str, entropy: Entropy) -> None:
    """Before anything depends on it. Vault before 1.13 ignores `associated_data` without a word."""
    value = entropy.bytes(32)
    sealed = wrapper.seal(value, "proof", "one")
    try:
        is_sound = wrapper.open(sealed, "proof", "one") == value
    except SealBroken:
        is_sound = False
    if not is_sound:
        raise Misconfigured([f"{source}: Vault does not open what it has just sealed: min_decryption_version?"])
    try:
        wrapper.open(sealed, "proof", "other")
    except SealBroken:
        return
    raise Misconfigured([f"{source}: this Vault ignores associated_data: use 1.13 or newer"])


def _is_sealed(text: str) -> bool:
    """Vault's form, written in the only way: its decoder would also take others, which nobody should confuse."""
    shape = _SEALED.fullmatch(text)
    data = decode(shape["data"]) if shape else None
    return shape is not None and data is not None and encode(data) == shape["data"]
