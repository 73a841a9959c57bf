"""Signed webhooks in the form of Standard Webhooks: HMAC-SHA256 over identifier, time and body, each accepted once.

The signature says that the sender knows the secret and wrote this body; the time, that it was just now; the memory,
that it was not here before. A sender that tries again signs again, with a new time and the same identifier: that is
accepted, so that what failed can be repeated. Whoever must not do something twice looks at `identifier`.
"""

import base64
import hashlib
import hmac
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

SignatureCode: TypeAlias = Literal[
    "signature_missing", "signature_malformed", "signature_wrong", "signature_outdated", "signature_replayed"
]
DETAILS: Final[dict[SignatureCode, str]] = {
    "signature_missing": "Sign the body: webhook-id, webhook-timestamp, webhook-signature.",
    "signature_malformed": "The signature's headers are not well-formed.",
    "signature_wrong": "The signature is not one of this body.",
    "signature_outdated": "The signature is not from just now.",
    "signature_replayed": "This was here before.",
}
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX: Final = "whsec_"
MIN_SECRET_BYTES: Final = 24
MAX_SIGNATURES: Final = 10
TOLERANCE_SECONDS: Final = 300
FORGET_SECONDS: Final = 3600
SWEEP_SECONDS: Final = 60
"""How often a process forgets what is over: each time takes the file's only place for writers, also for nothing."""
WAIT_SECONDS: Final = 15
"""For that place. SQLite has no queue: among busy processes some are unlucky. Senders don't wait longer."""
_IDENTIFIER = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,255}")
"""No dot: it parts the identifier from the time in what is signed."""
_system_clock: Final = time.time  # noqa: TID251 - the default of the one parameter by which time is handed in
_SECONDS = re.compile(r"[0-9]{1,12}")

Secrets: TypeAlias = Sequence[bytes] | Callable[[], Sequence[bytes]]
"""The secrets that are accepted now; several while one takes the other's place. A function is asked each time."""


class SignatureRefused(Exception):
    """The body is not accepted. `code` is for programs, `detail` for people."""

    def __init__(self, code: SignatureCode) -> None:
        self.code: SignatureCode = code
        self.detail = DETAILS[code]
        super().__init__(code, self.detail)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A body that was accepted: which message it is, and when it was signed (seconds since 1970)."""

    identifier: str
    signed_at: int


class Memory:
    """What was accepted lately, in a file that the processes of a machine share, or for one process alone.

    The file is an SQLite database of its own; nothing in it is secret. May be made before a process forks.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._pid = os.getpid()
        self._of_parents: list[sqlite3.Connection] = []
        self._swept_at: int | None = None
        self._connection = self._connect()
        columns = "digest BLOB PRIMARY KEY, until INTEGER"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS seen ({columns}) WITHOUT ROWID")
        self._connection.execute("CREATE INDEX IF NOT EXISTS seen_until ON seen (until)")

    def is_first(self, *digests: bytes, now: int, until: int) -> bool:
        """Whether nobody, in whichever process, has asked for one of these before. Remembered `until` then."""
        with _statements:
            if self._path is not None and self._pid != os.getpid():
                # SQLite forbids a child to use what the parent has opened, and even to close it.
                self._of_parents.append(self._connection)
                self._connection, self._pid = self._connect(), os.getpid()
            if self._swept_at is None or not 0 <= now - self._swept_at < SWEEP_SECONDS:
                # A while longer than it is needed, because a clock may go back.
                self._connection.execute("DELETE FROM seen WHERE until < ?", (now - FORGET_SECONDS,))
                self._swept_at = now
            # In one statement: of two who ask for some of the same at once, one comes first with all of its own.
            rows = ", ".join(["(?, ?)"] * len(digests))
            values = [value for digest in digests for value in (digest, until)]
            added = self._connection.execute(f"INSERT OR IGNORE INTO seen VALUES {rows}", values)  # noqa: S608
            return added.rowcount == len(digests)

    def close(self) -> None:
        """Close the file."""
        if self._path is None or self._pid == os.getpid():
            self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        path = ":memory:" if self._path is None else self._path
        return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=WAIT_SECONDS)


_statements = threading.Lock()
"""One for all memories of a process, and held while it forks: a child never finds one in the middle of a statement,
which nobody would end there."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_statements.acquire, after_in_parent=_statements.release, after_in_child=_statements.release
    )


class WebhookVerifier:
    """Accepts each signed body once, within `tolerance_seconds` of its signature, before or after."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        memory: Memory,
        tolerance_seconds: int = TOLERANCE_SECONDS,
        clock: Callable[[], float] = _system_clock,
    ) -> None:
        """Raises ValueError when a secret is too short, or there is none."""
        self._secrets = secrets
        self._memory = memory
        self._tolerance = tolerance_seconds
        self._clock = clock
        self._accepted()

    def verify(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        """What message this is. `headers` are looked up by names in small letters. Raises SignatureRefused."""
        texts = [headers.get(name) for name in (ID, TIMESTAMP, SIGNATURE)]
        if None in texts:
            raise SignatureRefused("signature_missing")
        identifier, seconds, signatures = (text or "" for text in texts)
        offered = [text.encode("utf-8", "replace") for text in signatures.split(" ")]
        if not _IDENTIFIER.fullmatch(identifier) or not _SECONDS.fullmatch(seconds) or len(offered) > MAX_SIGNATURES:
            raise SignatureRefused("signature_malformed")
        expected = [_signature(secret, identifier, seconds, body) for secret in self._accepted()]
        # Every pair is compared, and each in constant time: how many were tried tells nothing.
        if not sum(hmac.compare_digest(one, other) for one in expected for other in offered):
            raise SignatureRefused("signature_wrong")
        now, signed_at = int(self._clock()), int(seconds)
        if abs(now - signed_at) > self._tolerance:
            raise SignatureRefused("signature_outdated")
        digests = _digests({*expected, *offered}, _content(identifier, seconds, body))
        if not self._memory.is_first(*digests, now=now, until=signed_at + self._tolerance):
            raise SignatureRefused("signature_replayed")
        return Webhook(identifier, signed_at)

    def _accepted(self) -> Sequence[bytes]:
        found = self._secrets() if callable(self._secrets) else self._secrets
        if not found or any(len(secret) < MIN_SECRET_BYTES for secret in found):
            raise ValueError(f"webhooks: secrets of at least {MIN_SECRET_BYTES} bytes, one or more")
        return found


def read_secret(text: str) -> bytes:
    """A secret from its usual form, `whsec_` and base64. Raises ValueError, never showing it."""
    try:
        found = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except ValueError:
        found = b""
    if len(found) < MIN_SECRET_BYTES:
        raise ValueError(f"a webhook secret is {PREFIX} and at least {MIN_SECRET_BYTES} bytes in base64")
    return found


def sign(secret: bytes, identifier: str, signed_at: int, body: bytes) -> dict[str, str]:
    """The headers of a signed body, for senders in Python, and for tests."""
    signature = _signature(secret, identifier, str(signed_at), body)
    return {ID: identifier, TIMESTAMP: str(signed_at), SIGNATURE: signature.decode()}


def _digests(signatures: Iterable[bytes], content: bytes) -> list[bytes]:
    """What is remembered of a message: each signature by which it could come again, with the others left out.

    It is of a secret: senders don't use up each other's. And of the content: what is no signature of ours may be the
    same with each message.
    """
    known = hashlib.sha256(content).digest()
    return [hashlib.sha256(known + signature).digest() for signature in signatures]


def _content(identifier: str, seconds: str, body: bytes) -> bytes:
    """What is signed."""
    return f"{identifier}.{seconds}.".encode() + body


def _signature(secret: bytes, identifier: str, seconds: str, body: bytes) -> bytes:
    digest = hmac.digest(secret, _content(identifier, seconds, body), "sha256")
    return b"v1," + base64.b64encode(digest)
