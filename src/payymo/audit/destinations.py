"""Where checkpoints go: a file, a receiver that keeps what it is sent, or a witness that signs it, too.

Only the operator says where, so no address is out of bounds. Redirects are not followed, TLS is verified, and plain
HTTP is for the loopback alone (`payymo_guard.http`). Every delivery can be repeated.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from payymo.audit.notes import Note, SignatureType, VerifierKey, to_base64
from payymo.audit.refusals import Refused
from payymo_guard.http import Answer, Client, Origin, Unreachable

WITNESS: Final = "witness+"
ADD: Final = "/add-checkpoint"
ANSWER_BYTES_MAX: Final = 64 * 1024


class NotDelivered(Exception):
    """It is not there. `reason` is short, and our own; `is_everybodys`: other logs would not get through either."""

    def __init__(self, reason: str, *, is_everybodys: bool = True) -> None:
        self.reason = reason
        self.is_everybodys = is_everybodys
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A checkpoint on its way. `old`: the size of the one before that has arrived."""

    note: str
    size: int
    old: int
    prove: Callable[[int], Sequence[bytes]]
    """The consistency proof from an older size."""


class Token(Protocol):
    """Knows a bearer token."""

    def __call__(self, *, is_refused: bool = False) -> str | None:
        """The token; `is_refused`: the one that it has answered was not taken. None: there is none."""


class Destination(Protocol):
    """One place."""

    @property
    def uri(self) -> str:
        """As it is configured."""

    def send(self, parcel: Parcel) -> str | None:
        """Return when it is there: with more signature lines for the note, if that is what comes back.

        Raises NotDelivered.
        """


@dataclass(frozen=True, slots=True)
class FileDestination:
    """A file that is only ever added to, such as on a medium that is written once."""

    uri: str
    path: Path

    def send(self, parcel: Parcel) -> str | None:
        """All of a note or nothing of it, on the disk."""
        data = parcel.note.encode() + b"\n"
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                before = os.fstat(file).st_size
                if os.write(file, data) != len(data):
                    os.ftruncate(file, before)
                    raise NotDelivered("no room")
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise NotDelivered(error.strerror or type(error).__name__) from None
        return None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Whoever takes a POST of the note, as text."""

    uri: str
    client: Client
    timeout_seconds: int
    token: Token
    """What it wants as a bearer token."""

    def send(self, parcel: Parcel) -> str | None:
        """It has taken it with any status of success."""
        answer = self._post(parcel, self.token())
        if answer.status in {401, 403}:
            answer = self._post(parcel, self.token(is_refused=True))
        if not 200 <= answer.status < 300:
            raise NotDelivered(f"status {answer.status}")
        return None

    def _post(self, parcel: Parcel, token: str | None) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        parts = urlsplit(self.uri)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return _post(self.client, path, parcel.note.encode(), headers, self.timeout_seconds)


@dataclass(frozen=True, slots=True)
class Witness:
    """Whoever signs that a log has only grown (C2SP tlog-witness, add-checkpoint)."""

    uri: str
    client: Client
    timeout_seconds: int
    keys: Sequence[VerifierKey]

    def send(self, parcel: Parcel) -> str | None:
        """Its signature lines. When it has seen another size than we think, it says which, and is asked again."""
        answer = self._add(parcel, parcel.old)
        if answer.status == 409 and (old := _size_of(answer.body)) is not None:
            if old > parcel.size:
                raise NotDelivered(f"it has seen a larger log ({old})", is_everybodys=False)
            answer = self._add(parcel, old)
        if answer.status != 200:
            raise NotDelivered(f"status {answer.status}", is_everybodys=answer.status >= 500)
        return self._signatures(parcel.note, answer.body)

    def _add(self, parcel: Parcel, old: int) -> Answer:
        lines = [f"old {old}", *map(to_base64, parcel.prove(old)), "", ""]
        body = "\n".join(lines).encode() + parcel.note.encode()
        path = urlsplit(self.uri.removeprefix(WITNESS)).path.rstrip("/") + ADD
        return _post(self.client, path, body, {}, self.timeout_seconds)

    def _signatures(self, note: str, answer: bytes) -> str:
        """The lines of the answer that are by a witness of ours. Raises NotDelivered: none is."""
        try:
            cosigned = Note.parse(note.encode() + answer)
            verified = {by.key for by in cosigned.verify(self.keys) if by.key.type is SignatureType.COSIGNATURE}
        except Refused as refusal:
            raise NotDelivered(f"cosignature: {refusal.reason}", is_everybodys=False) from None
        names = {(key.name, key.id) for key in verified}
        known = set(Note.parse(note.encode()).signatures)
        return "".join(
            str(signature)
            for signature in cosigned.signatures
            if (signature.name, signature.key_id) in names and signature not in known
        )


def open_destination(
    uri: str,
    *,
    ca_file: Path | None,
    timeout_seconds: int,
    witness_keys: Sequence[VerifierKey],
    token: Token,
) -> Destination:
    """The place that a URI names. Raises ValueError with a sentence, OSError: no authorities in `ca_file`."""
    if uri.startswith("file:"):
        path = Path(uri.removeprefix("file:"))
        if not path.is_absolute():
            raise ValueError("write file:/path")
        return FileDestination(uri, path)
    address = uri.removeprefix(WITNESS)
    parts = urlsplit(address)
    client = Client(Origin.of(address), ca_file)
    if uri == address:
        return Receiver(uri, client, timeout_seconds, token)
    if not witness_keys or parts.query or parts.fragment:
        raise ValueError("a witness is named by witness+https://HOST/PATH, and PAYYMO_AUDIT__WITNESS_KEYS has its key")
    return Witness(uri, client, timeout_seconds, witness_keys)


def _post(client: Client, path: str, body: bytes, headers: dict[str, str], timeout_seconds: int) -> Answer:
    headers = {"Content-Type": "text/plain; charset=utf-8", **headers}
    try:
        return client.request(
            "POST", path, headers=headers, timeout_seconds=timeout_seconds, max_bytes=ANSWER_BYTES_MAX, body=body
        )
    except Unreachable:
        raise NotDelivered("no answer") from None


def _size_of(body: bytes) -> int | None:
    """What a witness says that it has seen (text/x.tlog.size)."""
    text = body.decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() and len(text) < 20 else None
