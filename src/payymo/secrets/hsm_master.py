"""A master key in a hardware token: made there, and data keys are wrapped there under it."""

import hashlib
from typing import Any, Final

from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass, exceptions

from payymo.entropy import Entropy
from payymo.errors import Misconfigured, Unavailable
from payymo.secrets.encryption import NONCE_BYTES, VERSION, SealBroken, bind
from payymo.secrets.hsm import HardwareToken, TokenGone, TokenUri, find_objects, hardware_token, name_of
from payymo.secrets.model import Access, MasterKey

KEY_BITS: Final = 256
TAG_BITS: Final = 128
CHECK_BLOCK: Final = b"payymo keyid" + bytes(4)
"""What the key's id is made from, enciphered. Such a block is none of those that GCM enciphers: the all-zero one, and
those whose counter, the last four bytes, is at least one (NIST SP 800-38D §7.1)."""


def open_master_key(uri: str, source: str, access: Access, entropy: Entropy) -> MasterKey:
    """The AES key in a token that data keys are wrapped under. Raises Misconfigured: none, or one that may leave it."""
    name = TokenUri.parse(uri, source)
    if name.object is None:
        raise Misconfigured([f"{source}: write pkcs11:token=NAME;object=NAME"])
    token = hardware_token(access.token, name.token, source)
    label = name.object

    def look(session: Any) -> bytes:
        key = _find_aes_key(session, label)
        if key is None:
            remedy = f"make it with payymo key generate-master --at '{name}'"
            raise Misconfigured([f"{source}: there is no secret key {label!r} in the token: {remedy}"])
        if (
            (key.key_type, key.key_length) != (KeyType.AES, KEY_BITS)
            or key[Attribute.EXTRACTABLE]
            or not key[Attribute.SENSITIVE]
        ):
            raise Misconfigured([f"{source}: {label!r} is no AES-256 key that stays in the token"])
        return bytes(key.encrypt(CHECK_BLOCK, mechanism=Mechanism.AES_ECB))

    try:
        check = token.use(look)
    except exceptions.PKCS11Error as error:
        raise Misconfigured([f"{source}: the token can't use {label!r} ({name_of(error)})"]) from None
    key_id = hashlib.sha256(b"payymo master key id" + check).hexdigest()[:32]
    return MasterKey(key_id, source, is_development=False, wrapper=TokenWrapper(token, label, entropy))


def make_master_key(uri: str, source: str, access: Access) -> str:
    """Make an AES key that never leaves the token. Answers its URI. Raises Misconfigured, when there is one, too."""
    name = TokenUri.parse(uri, source)
    label = name.object
    if label is None:
        raise Misconfigured([f"{source}: write pkcs11:token=NAME;object=NAME"])

    def make(session: Any) -> None:
        if _find_aes_key(session, label) is not None:
            raise Misconfigured([f"{source}: there is a key {label!r} in the token already"])
        session.generate_key(
            KeyType.AES,
            KEY_BITS,
            label=label,
            id=label.encode(),
            store=True,
            template={Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
        )

    try:
        hardware_token(access.token, name.token, source).use(make)
    except exceptions.PKCS11Error as error:
        raise Misconfigured([f"{source}: the token makes no AES key ({name_of(error)})"]) from None
    return str(name)


class TokenWrapper:
    """Seals and opens data keys by AES-256-GCM in a token, in the form of `payymo.secrets.encryption.Sealer`."""

    def __init__(self, token: HardwareToken, label: str, entropy: Entropy) -> None:
        self._token = token
        self._label = label
        self._entropy = entropy

    def seal(self, value: bytes, *place: str) -> bytes:
        """The value, encrypted for `place`. Raises Unavailable."""
        nonce = self._entropy.bytes(NONCE_BYTES)
        try:
            return VERSION + nonce + self._run("encrypt", value, nonce, place)
        except exceptions.PKCS11Error as error:
            raise Unavailable(private=f"the token does not encrypt: {name_of(error)}") from None

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The value that was sealed for `place`. Raises SealBroken, Unavailable."""
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != VERSION or len(ciphertext) < TAG_BITS // 8:
            raise SealBroken(private=f"{'/'.join(place)}: not a sealed value")
        try:
            return self._run("decrypt", ciphertext, nonce, place)
        except exceptions.PKCS11Error as error:
            self._require_sound(name_of(error))
            raise SealBroken(private=f"{'/'.join(place)}: does not open ({name_of(error)})") from None

    def _require_sound(self, reason: str) -> None:
        """Raise Unavailable when the token opens nothing at all: some call a wrong tag by names that mean just that."""
        nonce = self._entropy.bytes(NONCE_BYTES)
        try:
            self._run("decrypt", self._run("encrypt", b"proof", nonce, ()), nonce, ())
        except exceptions.PKCS11Error:
            raise Unavailable(private=f"the token does not decrypt: {reason}") from None

    def _run(self, verb: str, data: bytes, nonce: bytes, place: tuple[str, ...]) -> bytes:
        params = GCMParams(nonce=nonce, aad=bind(place), tag_bits=TAG_BITS)

        def act(session: Any) -> bytes:
            key = _find_aes_key(session, self._label)
            if key is None:
                raise TokenGone(f"the key {self._label!r} is gone")
            return bytes(getattr(key, verb)(data, mechanism=Mechanism.AES_GCM, mechanism_param=params))

        return self._token.use(act)


def _find_aes_key(session: Any, label: str) -> Any:
    found = find_objects(session, ObjectClass.SECRET_KEY, label)
    if len(found) > 1:
        raise Misconfigured([f"there are several secret keys {label!r} in the token"])
    return found[0] if found else None
