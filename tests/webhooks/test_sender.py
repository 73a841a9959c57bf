"""What goes out, and to whom: the address that was judged, over TLS that is checked, and nobody waits for ever."""

import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from payymo.clock import system_clock
from payymo.entropy import Entropy
from payymo.webhooks import sender as sending
from payymo.webhooks.model import Failure, Message
from payymo.webhooks.sender import Identity, Sender
from payymo.webhooks.targets import AddressPolicy
from payymo_guard.fake_authority import CLIENT, FakeAuthority
from tests.support.receiver import Receiver, receiver

MESSAGE = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", "test", b'{"test": 2432232314}')
LOOPBACK = (ip_network("127.0.0.0/8"),)
KEY = bytes(range(32))


def send(
    there: Receiver, *, url: str | None = None, resolve: Any = None, identity: Identity | None = None, **more: Any
) -> Failure | None:
    given = {"policy": AddressPolicy(LOOPBACK), "ca_file": there.ca_file} | more
    sender = Sender(system_clock, Entropy(), resolve=resolve or (lambda _host, _port: ["127.0.0.1"]), **given)
    return sender.send(url or there.url, MESSAGE, [KEY], identity=identity)


def reason(failure: Failure | None) -> str | None:
    return None if failure is None else failure.reason


def test_it_signs_as_the_standard_does(there: Receiver) -> None:
    """The published example; and what comes through the wire is verified by the standard's own library."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    moment = datetime.fromtimestamp(1614265330, UTC)
    signature = Webhook(secret).sign(MESSAGE.id, moment, MESSAGE.body.decode())
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert send(there) is None
    [got] = there.got
    assert Webhook(KEY).verify(got.body, got.headers) == {"test": 2432232314}


@pytest.mark.parametrize(
    "answers",
    [["10.0.0.1"], ["169.254.169.254"], ["::ffff:192.168.0.1"], ["127.0.0.1", "10.0.0.1"], []],
)
def test_a_name_that_leads_inside_now_is_not_connected_to(there: Receiver, answers: list[str]) -> None:
    """DNS rebinding: it was public when it was registered, and is judged again each time."""
    asked: list[str] = []

    def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else answers

    policy = AddressPolicy(LOOPBACK)
    sender = Sender(system_clock, Entropy(), policy=policy, ca_file=there.ca_file, resolve=resolve)
    assert sender.send(there.url, MESSAGE, [KEY]) is None
    assert reason(sender.send(there.url, MESSAGE, [KEY])) == "address"
    assert len(there.got) == 1
    assert asked == ["localhost"] * 2  # once for each attempt: what is judged is what is connected to


def test_the_name_is_what_the_receiver_has_to_prove(there: Receiver) -> None:
    """The connection goes to the address; SNI, Host and the certificate are of the name."""
    assert reason(send(there, url=f"https://other.example:{there.port}/")) == "tls"
    assert there.got == []


def test_a_receiver_that_nobody_vouches_for_gets_nothing(there: Receiver, tmp_path: Path) -> None:
    """Neither without its authority, nor over an old TLS."""
    assert reason(send(there, ca_file=None)) == "tls"
    assert there.got == []


def test_proxies_of_the_environment_are_not_asked(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would look the name up themselves, and see what is sent."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(there) is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(there: Receiver, status: int) -> None:
    """They lead to where nobody has judged anything."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", f"https://localhost:{there.port}/elsewhere")
        handler.end_headers()

    there.answer = lambda _got: answer
    assert reason(send(there)) == f"status-{status}"
    assert len(there.got) == 1


def trickle(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: 1\r\n")
        handler.wfile.flush()
        handler.connection.pending()  # type: ignore[attr-defined]


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"I am no HTTP\r\n\r\n")


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65_536)


def chunks(*sizes: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Chunks of these sizes, as they are written, and then more than anybody wants."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        handler.wfile.write(b"".join(size + b"\r\n" for size in sizes))
        while True:
            handler.wfile.write(b"x" * 65_536)

    return answer


@pytest.mark.parametrize("size", [b"-1", b"-5", b"-0", b"z", b"1" * 5_000, b"f" * 70_000])
def test_a_chunk_of_no_size_is_neither_an_error_of_ours_nor_read_to_its_end(
    there: Receiver, monkeypatch: pytest.MonkeyPatch, size: bytes
) -> None:
    """Python takes -1 for everything that comes, and -5 for a mistake of ours. Who has answered has."""
    read = counted(monkeypatch)
    there.answer = lambda _got: chunks(size)
    assert reason(send(there)) is None
    assert sum(read) <= sending.WIRE_MAX + 65_536


def test_what_is_wrapped_around_an_answer_is_bounded_as_it_is(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extensions of chunks, and answers that announce another one."""
    read = counted(monkeypatch)
    there.answer = lambda _got: chunks(*[b"1;" + b"x" * 60_000 + b"\r\ny"] * 100)
    assert reason(send(there)) is None
    there.answer = lambda _got: lambda handler: handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000)
    assert reason(send(there)) == "answer"
    assert max(read) <= sending.WIRE_MAX + 65_536


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much was read of each connection, from now on."""
    read: list[int] = []
    usual = sending._Timely.__init__

    def begin(timely: Any, raw: Any, *others: Any) -> None:
        number = len(read)
        read.append(0)

        class Counted:
            def readinto(self, buffer: Any) -> int:
                found: int = raw.readinto(buffer)
                read[number] += found
                return found

            def close(self) -> None:
                raw.close()

        usual(timely, Counted(), *others)

    monkeypatch.setattr(sending._Timely, "__init__", begin)
    return read


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_the_answer_is_what_comes_after_what_was_announced(there: Receiver, status: int) -> None:
    """RFC 9110 §15.2: one or more responses of 1xx may come before the final one, also where nobody asked for any."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        early = b"HTTP/1.1 %d Wait\r\nLink: </style.css>; rel=preload\r\n\r\n" % status
        handler.wfile.write(early * 2 + b"HTTP/1.1 204 No Content\r\n\r\n")

    there.answer = lambda _got: answer
    assert reason(send(there)) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(silent, "timeout"), (trickle, "answer"), (garbage, "answer"), (hang_up, "answer"), (endless, None)],
)
def test_whatever_a_receiver_does_it_ends(
    there: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[BaseHTTPRequestHandler], None],
    expected: str | None,
) -> None:
    """In time, and with a bounded part of what it says. Who has said that it took the event has."""
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 2.0)
    there.answer = lambda _got: answer
    assert reason(send(there)) == expected


def test_it_is_shown_a_client_certificate_where_one_is_configured(tmp_path: Path) -> None:
    """Mutual TLS: who has none is turned away. Nothing of the key stays on the disk."""
    with receiver(tmp_path, wants_certificate=True) as there:
        issued = there.authority.issue("payymo", uris=["spiffe://example.com/payymo"], usages=[CLIENT])
        assert send(there) is not None
        assert send(there, identity=Identity(issued.pem, issued.key_pem)) is None
        other = FakeAuthority(now=system_clock()).issue("payymo", usages=[CLIENT])
        assert send(there, identity=Identity(other.pem, other.key_pem)) is not None
        [got] = there.got
        assert got.peer is not None
        assert ("URI", "spiffe://example.com/payymo") in got.peer["subjectAltName"]


def test_session_keys_are_written_nowhere(there: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSLKEYLOGFILE would have everything that is sent read by whoever has the file."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert send(there) is None
    assert not (tmp_path / "keys").exists()
    assert ssl.create_default_context().keylog_filename is not None
