"""Sends one message: signed, to an address that was judged, over TLS that is checked, and in time.

No proxy of the environment is asked, no redirect is followed; of the answer its status is looked at, and Retry-After.
"""

import http.client
import io
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from standardwebhooks import Webhook

from payymo import __version__
from payymo.clock import Clock
from payymo.entropy import Entropy
from payymo.errors import InvalidInput
from payymo.webhooks.model import Failure, Message, not_before
from payymo.webhooks.targets import AddressPolicy, Resolve, Target, read_target

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 15.0
"""From the first packet to the last one, without the look-up of the name, which the system bounds."""
ANSWER_MAX: Final = 64 * 1024
WIRE_MAX: Final = 2 * ANSWER_MAX
"""Of everything that a receiver sends, also of what is wrapped around its answer: heads, sizes of chunks, trailers."""
GONE: Final = 410
IDENTITIES_AT_MOST: Final = 16
_CHUNK: Final = 8 * 1024
_REASONS: Final[Mapping[type[Exception], str]] = {
    TimeoutError: "timeout",
    ssl.SSLError: "tls",
    http.client.HTTPException: "answer",
    OSError: "connect",
}
"""What comes first counts: some are several of them."""


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A client certificate with its chain, and its private key, both in PEM."""

    chain_pem: bytes
    private_key_pem: bytes


class Sender:
    """Sends messages. `ca_file`: an authority beside those of the system. Raises OSError: it can't be read."""

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        *,
        policy: AddressPolicy,
        ca_file: Path | None,
        resolve: Resolve | None = None,
    ) -> None:
        self.policy = policy
        self.resolve: Resolve = resolve or system_resolve
        self._clock = clock
        self._entropy = entropy
        self._ca_file = ca_file
        self._contexts: dict[Identity | None, ssl.SSLContext] = {}
        if ca_file is not None:
            self._context(None)  # what can't be read is a reason not to begin

    def send(
        self, url: str, message: Message, secrets: Sequence[bytes], *, identity: Identity | None = None
    ) -> Failure | None:
        """None: the receiver has taken it. Otherwise it is unknown whether it has."""
        try:
            target = read_target(url)
        except InvalidInput:
            return Failure("url")
        addresses = self.policy.choose(target, self.resolve)
        if not addresses:
            return Failure("address")
        try:
            status, retry_after = self._post(
                target, addresses, message.body, self._headers(target, message, secrets), identity
            )
        except (OSError, http.client.HTTPException) as error:
            return Failure(next(reason for kind, reason in _REASONS.items() if isinstance(error, kind)))
        if 200 <= status < 300:
            return None
        rests = not_before(status, retry_after, int(self._clock()))
        return Failure(f"status-{status}", is_gone=status == GONE, not_before=rests)

    def _headers(self, target: Target, message: Message, secrets: Sequence[bytes]) -> Mapping[str, str]:
        now = datetime.fromtimestamp(int(self._clock()), UTC)
        signatures = [Webhook(secret).sign(message.id, now, message.body.decode()) for secret in secrets]
        return {
            "Host": target.authority,
            "User-Agent": f"Payymo/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(message.body)),
            "Accept-Encoding": "identity",
            "Connection": "close",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def _post(
        self,
        target: Target,
        addresses: Sequence[str],
        body: bytes,
        headers: Mapping[str, str],
        identity: Identity | None,
    ) -> tuple[int, str | None]:
        """The status of the answer, and its Retry-After. Raises OSError, HTTPException."""
        deadline = _Deadline(TOTAL_SECONDS)
        sock = _connect(addresses, target.port, deadline)
        try:
            if target.is_https:
                context = self._context(identity)
                sock.settimeout(deadline.left())
                sock = context.wrap_socket(sock, server_hostname=target.host)
            connection = _Connection(sock, deadline)
            connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            sock.settimeout(deadline.left())
            connection.endheaders(body)
            with closing(connection.getresponse()) as answer:  # it holds the socket, whoever closes that
                _drop(answer)
                return answer.status, answer.getheader("Retry-After")
        finally:
            sock.close()

    def _context(self, identity: Identity | None) -> ssl.SSLContext:
        """Made once for each, when it is first asked for: reading the authorities takes longer than sending."""
        found = self._contexts.get(identity)
        if found is None:
            found = self._new_context(identity)
            if len(self._contexts) > IDENTITIES_AT_MOST:
                self._contexts = {}
            self._contexts[identity] = found
        return found

    def _new_context(self, identity: Identity | None) -> ssl.SSLContext:
        """Made by hand: the usual one would write session keys to wherever SSLKEYLOGFILE says."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_default_certs()
        if self._ca_file is not None:
            context.load_verify_locations(cafile=self._ca_file)
        if identity is not None:
            password = self._entropy.token(32)
            with _pair(identity, password) as path:
                context.load_cert_chain(path, password=password)
        return context


def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them, each once. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


@contextmanager
def _pair(identity: Identity, password: str) -> Iterator[Path]:
    """A file with certificate and key, which the library reads from files alone: under a password of this moment."""
    key = serialization.load_pem_private_key(identity.private_key_pem, None, unsafe_skip_rsa_key_validation=True)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    number, name = tempfile.mkstemp()
    try:
        with os.fdopen(number, "wb") as file:
            file.write(identity.chain_pem + locked)
        yield Path(name)
    finally:
        Path(name).unlink()


class _Deadline:
    """A moment that does not move, however slowly something comes in."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ends_at = monotonic() + seconds

    def left(self, at_most: float = TOTAL_SECONDS) -> float:
        """Seconds until then. Raises TimeoutError: none are left."""
        left = self._ends_at - self._monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, at_most)


def _connect(addresses: Sequence[str], port: int, deadline: _Deadline) -> socket.socket:
    """A connection to the first of these addresses that takes one. Nothing is looked up again."""
    failure: OSError = TimeoutError()
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=deadline.left(CONNECT_SECONDS))
        except OSError as error:
            failure = error
    raise failure


class _Timely(io.RawIOBase):
    """Reads from a socket until the deadline, and no more than `WIRE_MAX`: chunks may have sizes below zero."""

    def __init__(self, raw: Any, sock: socket.socket, deadline: _Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._left = WIRE_MAX

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise http.client.HTTPException("more than is read of an answer")
        self._sock.settimeout(self._deadline.left())
        found: int | None = self._raw.readinto(buffer)
        self._left -= found or 0
        return found

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    """HTTP on a connection that is there already, and stays the only one."""

    auto_open = 0

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        super().__init__("-")
        self.sock = sock
        self._deadline = deadline

    def getresponse(self) -> http.client.HTTPResponse:
        """The answer, whose head and body are under the deadline."""
        answer = http.client.HTTPResponse(self.sock, method="POST")
        buffered: Any = answer.fp
        answer.fp = io.BufferedReader(_Timely(buffered.detach(), self.sock, self._deadline))
        answer.begin()
        while 101 < answer.status < 200:  # RFC 9110 §15.2: whatever else comes first, the answer comes after it
            answer.headers = None  # type: ignore[assignment]
            answer.begin()
        return answer


def _drop(answer: http.client.HTTPResponse) -> None:
    """Read what the receiver has to say, up to a bound, and forget it. It has answered, whatever comes of this."""
    left = ANSWER_MAX
    with suppress(OSError, http.client.HTTPException, ValueError):  # the last one: of a size that is none
        while left > 0 and (chunk := answer.read(min(left, _CHUNK))):
            left -= len(chunk)
