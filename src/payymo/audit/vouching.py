"""Whose signatures count for a log: checkpoints of the database, and those that were kept elsewhere.

A checkpoint names its log by an origin, which ends with whose log it is. A log keeps that end when the deployment gets
another address, so that old checkpoints speak for it still.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from payymo.audit.model import PLATFORM
from payymo.audit.notes import Checkpoint, Note, SignatureType, VerifierKey, open_checkpoint
from payymo.audit.refusals import Refused

_DASH: Final = "\N{EM DASH} ".encode()
_PATH: Final = "/audit/"


@dataclass(frozen=True, slots=True)
class Vouched:
    """A head of a log that somebody trusted has signed. `is_outside`: it was not in the database."""

    size: int
    root: bytes
    is_outside: bool = False


class Revoked(Exception):
    """It is signed by a key that somebody else may have, and proves nothing."""

    def __init__(self) -> None:
        super().__init__("This checkpoint is signed by a key that somebody else may have: it proves nothing.")


class Vouchers:
    """Opens checkpoints. `outside`: the only keys to trust; without them, the public keys that the database names."""

    def __init__(
        self, trusted: Sequence[bytes], revoked: Sequence[bytes], outside: Sequence[VerifierKey] | None = None
    ) -> None:
        self._trusted = trusted
        self._revoked = revoked
        self._outside = outside
        self._known: dict[str, tuple[Sequence[VerifierKey], Sequence[VerifierKey]]] = {}

    @property
    def has_outside_keys(self) -> bool:
        """Whether the keys came from somewhere else than the database."""
        return self._outside is not None

    @property
    def revoked(self) -> frozenset[bytes]:
        """The public keys that somebody else may have."""
        return frozenset(self._revoked)

    def is_revoked(self, note: bytes) -> bool:
        """Whether a note is signed by such a key."""
        origin = note.partition(b"\n")[0].decode(errors="replace")
        try:
            return _is_signed_by(note, self._keys(origin)[1])
        except Refused:  # nothing that signs is called so
            return False

    def open(self, note: bytes, log: uuid.UUID | None) -> Checkpoint:
        """The checkpoint of this log that is in a note. Raises Refused, Revoked."""
        origin = note.partition(b"\n")[0].decode(errors="replace")
        if log_of(origin) != log:
            raise Refused("another_log", "This checkpoint is of another log.")
        trusted, revoked = self._keys(origin)
        try:
            return open_checkpoint(note, trusted).checkpoint
        except Refused as refusal:
            if refusal.reason == "signature_missing" and _is_signed_by(note, revoked):
                raise Revoked from None
            raise

    def _keys(self, origin: str) -> tuple[Sequence[VerifierKey], Sequence[VerifierKey]]:
        """The keys that count for a log of this origin, and those that somebody else may have."""
        found = self._known.get(origin)
        if found is None:
            keys = [VerifierKey(origin, key) for key in self._trusted] if self._outside is None else self._outside
            stolen = [VerifierKey(origin, key) for key in self._revoked]
            found = [key for key in keys if key.public_key not in self._revoked], stolen
            self._known[origin] = found
        return found


def log_of(origin: str) -> uuid.UUID | None:
    """Whose log an origin is; None: the platform's. Raises Refused: of no log of such a service."""
    deployment, path, name = origin.rpartition(_PATH)
    try:
        if deployment and path:
            log = None if name == PLATFORM else uuid.UUID(name)
            if log is None or str(log) == name:
                return log
    except ValueError:
        pass
    raise Refused("another_log", "The origin of this checkpoint is not one of an audit log: HOST/audit/LOG.")


def split_notes(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The notes in a text where one follows the other, with or without empty lines between."""
    note: list[bytes] = []
    is_below = False
    for line in lines:
        is_signature = line.startswith(_DASH)
        if is_below and not is_signature:
            yield b"".join(note)
            note, is_below = [], False
        is_below = is_signature
        if note or line.strip():
            note.append(line)
    if note:
        yield b"".join(note)


def _is_signed_by(note: bytes, keys: Sequence[VerifierKey]) -> bool:
    try:
        verified = Note.parse(note).verify(keys)
    except Refused:
        return False
    return any(by.key.type is SignatureType.ED25519 for by in verified)
