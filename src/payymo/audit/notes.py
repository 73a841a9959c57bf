"""Signed notes and checkpoints, in the forms that transparency-log tools read (C2SP signed-note, tlog-checkpoint).

A note is a text and signatures of it; a checkpoint is a note whose text says how large a log is, and which root its
tree has. Signatures are Ed25519: a log's own, and those of witnesses who saw that the log only grew (C2SP
tlog-cosignature v1). Private keys don't come here: who has one hands in a function that signs. What is read may come
from anybody: it is bounded, has one spelling, and nothing of it is believed before a known key has signed it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from payymo.audit.refusals import Refused

NOTE_BYTES_MAX: Final = 256 * 1024
SIGNATURES_MAX: Final = 100
"""As many as Go's implementation reads; the specification asks for 16 at least, of up to 5 kB."""
SIZE_MAX: Final = 2**63 - 1
_DASH: Final = "\N{EM DASH} "
_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_ROOT_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8
_NO_TEXT: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
"""Control characters but for the newline, and halves of characters, which have no UTF-8."""
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class SignatureType(IntEnum):
    """What a key's signatures are over; the number is the specification's."""

    ED25519 = 1
    """The text of the note: the log's own."""
    COSIGNATURE = 4
    """A time, and the text of a checkpoint: a witness's."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name under which it signs. Its text is `name+id+base64`, as other tools write it."""

    name: str
    public_key: bytes
    type: SignatureType = SignatureType.ED25519

    def __post_init__(self) -> None:
        if not is_name(self.name) or len(self.public_key) != _KEY_BYTES:
            raise Refused("key_malformed", "A key has a name without spaces and plus signs, and 32 bytes.")

    @property
    def id(self) -> bytes:
        """Four bytes by which signatures name the key, together with its name."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._encoded).digest()[:_ID_BYTES]

    @property
    def _encoded(self) -> bytes:
        return bytes([self.type]) + self.public_key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{to_base64(self._encoded)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Of the text of a key; one spelling only. Raises Refused."""
        name, _, rest = text.partition("+")
        encoded = from_base64(rest.partition("+")[2])
        if not encoded or not is_name(name):
            raise Refused("key_malformed", "A verifier key is written name+id+base64.")
        if encoded[0] not in set(SignatureType):
            raise Refused("key_unsupported", "Only Ed25519 keys, of logs and of witnesses, are read.")
        key = cls(name, encoded[1:], SignatureType(encoded[0]))
        if str(key) != text:
            raise Refused("key_malformed", "The id of this verifier key is not that of its name and bytes.")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """A line below a note. Who it claims to be from is in it; nothing is known before it is verified."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds: whose, and of a witness when it saw the checkpoint, in seconds since the epoch."""

    key: VerifierKey
    time: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures below it."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Of the bytes of a note, without a look at its signatures. Raises Refused."""
        text, blank, below = _read_text(data).rpartition("\n\n")
        lines = below.split("\n")
        if not blank or not text or lines.pop() or not 0 < len(lines) <= SIGNATURES_MAX:
            raise Refused("note_malformed", "A note is a text, an empty line, and up to 100 signatures.")
        return cls(text + "\n", tuple(map(_parse_signature, lines)))

    def verify(self, keys: Iterable[VerifierKey]) -> tuple[Verified, ...]:
        """The signatures by known keys, one at least; others are ignored. Raises Refused, also when one is wrong."""
        known = _by_name(keys)
        verified: dict[VerifierKey, Verified] = {}
        for signature in self.signatures:
            key = known.get((signature.name, signature.key_id))
            if key is not None:
                verified.setdefault(key, _verify(key, self.text, signature.value))
        if not verified:
            raise Refused("signature_missing", "None of the known keys has signed this note.")
        return tuple(verified.values())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log. `extensions` are lines that others leave uninterpreted; better none."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if not all(map(_is_line, lines)) or not 0 <= self.size <= SIZE_MAX or len(self.root) != _ROOT_BYTES:
            raise Refused("checkpoint_malformed", "A checkpoint names a log, a size and a root of 32 bytes.")

    def __str__(self) -> str:
        """The text that is signed."""
        return "\n".join([self.origin, str(self.size), to_base64(self.root), *self.extensions, ""])

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Of the text of a note; one spelling only. Raises Refused."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not _DECIMAL.fullmatch(lines[1]):
            raise Refused("checkpoint_malformed", "A checkpoint is a log's origin, its size and its root, in lines.")
        return cls(lines[0], int(lines[1]), from_base64(lines[2]), tuple(lines[3:]))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that its log has signed, and the witnesses known to us who signed it, too."""

    checkpoint: Checkpoint
    log: Verified
    witnesses: tuple[Verified, ...]


def parse_keys(text: str) -> tuple[VerifierKey, ...]:
    """The keys in a text: one a line, between comments (#) and empty lines. Raises Refused."""
    lines = [line.strip() for line in text.split("\n")]
    return tuple(VerifierKey.parse(line) for line in lines if line and not line.startswith("#"))


def sign(text: str, key: VerifierKey, signer: Callable[[bytes], bytes]) -> Note:
    """A note with a signature of the log's own key. Raises Refused when the signature is not by this key."""
    signature = Signature(key.name, key.id, signer(text.encode()))
    _verify(key, text, signature.value)  # what a confused key ring signs with another key must not get out
    return Note.parse(str(Note(text, (signature,))).encode())


def open_checkpoint(data: bytes, keys: Sequence[VerifierKey]) -> SignedCheckpoint:
    """The checkpoint in a note, once its own log has signed it: the key has to bear the log's origin as its name.

    A key for one log, or a witness alone, vouches for no other log. Raises Refused.
    """
    note = Note.parse(data)
    verified = note.verify(keys)
    checkpoint = Checkpoint.parse(note.text)
    logs = [by for by in verified if by.key.type is SignatureType.ED25519 and by.key.name == checkpoint.origin]
    if not logs:
        raise Refused("signature_missing", "The log that this checkpoint names has not signed it.")
    witnesses = tuple(by for by in verified if by.key.type is SignatureType.COSIGNATURE)
    return SignedCheckpoint(checkpoint, logs[0], witnesses)


def _verify(key: VerifierKey, text: str, value: bytes) -> Verified:
    time = None
    message = text.encode()
    if key.type is SignatureType.COSIGNATURE:
        time, value = int.from_bytes(value[:_TIME_BYTES]), value[_TIME_BYTES:]
        message = f"cosignature/v1\ntime {time}\n".encode() + message
    if len(value) != _SIGNATURE_BYTES or (time is not None and time > SIZE_MAX):
        raise Refused("signature_invalid", f"A signature by {key.name} has another length than it can have.")
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(value, message)
    except InvalidSignature:
        raise Refused("signature_invalid", f"A signature by {key.name} is not one of this text.") from None
    return Verified(key, time)


def _by_name(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise Refused("key_ambiguous", f"Two of the known keys are called {key.name}+{key.id.hex()}.")
    return known


def _read_text(data: bytes) -> str:
    if len(data) > NOTE_BYTES_MAX:
        raise Refused("note_malformed", "This note is too large.")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("note_malformed", "This note is not in UTF-8.") from None
    if _NO_TEXT.search(text):
        raise Refused("note_malformed", "There are control characters in this note.")
    return text


def _parse_signature(line: str) -> Signature:
    name, _, value = line.removeprefix(_DASH).partition(" ")
    decoded = from_base64(value)
    if not line.startswith(_DASH) or not is_name(name) or len(decoded) <= _ID_BYTES:
        raise Refused("note_malformed", "A line below this note is not a signature.")
    return Signature(name, decoded[:_ID_BYTES], decoded[_ID_BYTES:])


def is_name(name: str) -> bool:
    """Whether a key may be called so."""
    return _is_line(name) and "+" not in name and not any(map(str.isspace, name))


def _is_line(text: str) -> bool:
    return bool(text) and "\n" not in text and not _NO_TEXT.search(text)


def to_base64(data: bytes) -> str:
    """In the alphabet of RFC 4648 §4, with padding."""
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    """What a text in base64 stands for; nothing when it is none, or not in its only spelling."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return decoded if to_base64(decoded) == text else b""
