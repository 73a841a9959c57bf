"""Requests of the guard: within bounds of time and size, over TLS that is checked, and past every proxy."""

import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from payymo_guard.fake_authority import SERVER, FakeAuthority
from payymo_guard.http import Answer, Client, Origin, Unreachable, is_loopback
from tests.guard.feed_server import METADATA, FeedServer, reply, serving, until

Behave = Callable[[Any], None]


@contextmanager
def raw(behave: Behave, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that does with each connection whatever it likes. Answers its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            behave(self)

        do_GET = do_POST = answer  # noqa: N815 - the names are the library's

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Nothing: clients hang up in the middle."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http{'s' if context else ''}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def get(client: Client, path: str = "/", *, seconds: float = 5, max_bytes: int = 1000) -> Answer:
    return client.request("GET", path, headers={}, timeout_seconds=seconds, max_bytes=max_bytes)


def plain(handler: Any, body: bytes = b"ok", length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


CLIENTS: list[Client] = []


def client_of(url: str, **more: Any) -> Client:
    """A client that is closed with the test."""
    CLIENTS.append(Client(Origin.of(url), **more))
    return CLIENTS[-1]


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example.test",
        "http://10.0.0.1",
        "http://localhost.example.test",
        "http://127.0.0.1.example.test",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "//auth.example.test",
        "auth.example.test",
        "https://",
        "https://user:password@auth.example.test",
        "https://auth.example.test/\r\nX: y",
        "https://auth.example.test/ x",
        "https://äuth.example.test",
        "https://auth.example.test:99999",
    ],
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    """CVE-2026-102267: https, or http on the loopback; nothing hidden in it."""
    with pytest.raises(ValueError, match=r".*"):
        Origin.of(url)


def test_origins_are_equal_by_scheme_host_and_port() -> None:
    """RFC 6454."""
    assert Origin.of("https://A.test/x") == Origin.of("https://a.test:443/y?z")
    assert Origin.of("https://a.test") != Origin.of("https://a.test:444")
    assert Origin.of("http://localhost") != Origin.of("https://localhost")
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "localhost", "0.0.0.0", "::", "1.1.1.1")] == [  # noqa: S104
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_connections_are_kept_and_found_closed() -> None:
    """One for many requests; a server that has closed it meanwhile costs nothing but another one."""
    peers: list[Any] = []

    def behave(handler: Any) -> None:
        peers.append(handler.client_address)
        plain(handler)
        if handler.path == "/last":
            handler.close_connection = True  # without saying so

    with raw(behave) as url:
        client = client_of(url)
        for path in ("/", "/", "/last", "/", "/"):
            assert get(client, path).body == b"ok"
        assert len(set(peers)) == 2
        client.close()


def test_connections_of_a_busy_time_don_t_stay_open() -> None:
    """Which was used last is used next: the others are not kept for ever."""
    both = threading.Barrier(2, timeout=20)

    def behave(handler: Any) -> None:
        if handler.path == "/busy":
            both.wait()
        plain(handler)

    with raw(behave) as url:
        client = client_of(url)
        threads = [threading.Thread(target=get, args=(client, "/busy")) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(client._idle) == 2
        connection, since = client._idle[0]
        client._idle[0] = connection, since - 50
        assert get(client).status == 200
        assert len(client._idle) == 1
        assert connection.sock is None


def test_a_server_that_hangs_up_on_a_new_connection_is_not_asked_twice() -> None:
    """Only a kept one may have been closed by chance."""
    asked: list[str] = []

    def behave(handler: Any) -> None:
        asked.append(handler.path)
        handler.close_connection = True

    with raw(behave) as url, pytest.raises(Unreachable, match="no answer"):
        get(client_of(url))
    assert len(asked) == 1


@pytest.mark.parametrize("size", [1000, 1001, 10**6])
def test_answers_are_bounded(size: int) -> None:
    """At the limit it is read, beyond it not."""
    with raw(lambda handler: plain(handler, b"x" * size)) as url:
        client = client_of(url)
        if size == 1000:
            assert len(get(client).body) == 1000
        else:
            with pytest.raises(Unreachable, match="longer than"):
                get(client)


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    """Without a length, in chunks or not. And the connection ends with that, not when the error is forgotten."""
    is_over = threading.Event()

    def behave(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 10_000)
        except OSError:
            is_over.set()

    with raw(behave) as url:
        with pytest.raises(Unreachable, match="longer than") as kept:
            get(client_of(url), max_bytes=100_000)
        assert is_over.wait(30), kept


def test_an_answer_that_breaks_off_is_none() -> None:
    """What is there might even be valid by itself."""

    def behave(handler: Any) -> None:
        plain(handler, b"[]", length=10)
        handler.close_connection = True

    with raw(behave) as url, pytest.raises(Unreachable, match=r"breaks off|Incomplete"):
        get(client_of(url))


@pytest.mark.parametrize("where", ["head", "body"])
def test_time_is_bounded_for_all_of_an_answer(where: str) -> None:
    """A server that sends an octet now and then never reaches a timeout of each read."""
    done = threading.Event()

    def behave(handler: Any) -> None:
        if where == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not done.wait(0.05):
            handler.wfile.write(b"x")

    with raw(behave) as url:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no answer"):
            get(client_of(url), seconds=0.5)
        assert 0.4 < time.monotonic() - began < 3
        done.set()


def test_closing_ends_what_others_wait_for() -> None:
    """Also in the middle of an answer, and for good."""
    arrived, done, errors = threading.Event(), threading.Event(), list[str]()

    def behave(_: Any) -> None:
        arrived.set()
        done.wait(20)

    with raw(behave) as url:
        client = client_of(url)

        def ask() -> None:
            try:
                get(client, seconds=20)
            except Unreachable as error:
                errors.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        assert arrived.wait(20)
        client.close()
        thread.join(15)
        assert not thread.is_alive()
        assert errors
        with pytest.raises(Unreachable, match="closed"):
            get(client)
        done.set()


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential goes to the server that it is for."""
    with serving() as proxy, serving() as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert get(client_of(server.url), METADATA, max_bytes=9000).status == 200
        assert proxy.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """CVE-2026-48522."""
    with serving() as stranger, serving() as server:
        server.instead["/"] = lambda *_: reply({}, status, Location=stranger.url)
        with pytest.raises(Unreachable, match="elsewhere"):
            get(client_of(server.url)).require_ok("this")
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("100000", 300), ("-5", 0), ("soon", 0), ("٣", 0), ("1.5", 0), ("9" * 5000, 300)],
)
def test_retry_after_is_read_within_bounds(value: str, seconds: float) -> None:
    """Whole seconds, and at most five minutes."""
    with pytest.raises(Unreachable) as caught:
        Answer(503, {"retry-after": value}, b"").require_ok("this")
    assert (caught.value.status, caught.value.retry_seconds) == (503, seconds)


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    """A small answer can't turn out to be a huge one."""
    with serving() as server:
        server.instead["/"] = lambda *_: reply({}, Content_Encoding="gzip")
        with pytest.raises(Unreachable, match="encoded"):
            get(client_of(server.url))


def test_tls_is_checked(tmp_path: Path) -> None:
    """By the file of authorities, by name; without the file nobody knows this one, and no switch turns it off."""
    now = time.time()  # noqa: TID251 - TLS looks at the real clock
    root, other = FakeAuthority(now=now), FakeAuthority(now=now)
    for name, authority in (("root", root), ("other", other)):
        (tmp_path / f"{name}.pem").write_bytes(authority.pem)

    def context(name: str) -> ssl.SSLContext:
        leaf = root.issue(name, dns_names=(name,), usages=(SERVER,))
        (tmp_path / "leaf.pem").write_bytes(leaf.pem + leaf.key_pem)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(tmp_path / "leaf.pem")
        return made

    with raw(plain, context("localhost")) as url:
        client = client_of(url, ca_file=tmp_path / "root.pem")
        assert [get(client).body for _ in range(2)] == [b"ok", b"ok"]
        client.close()
        for ca_file in (tmp_path / "other.pem", None):
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                get(client_of(url, ca_file=ca_file))
    with raw(plain, context("elsewhere.test")) as url, pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        get(client_of(url, ca_file=tmp_path / "root.pem"))


def test_authorities_that_were_replaced_are_read_again(tmp_path: Path) -> None:
    """25: the server's new certificate is of a new authority, and nobody has to start our process again."""
    now, path = time.time(), tmp_path / "ca.pem"  # noqa: TID251 - TLS looks at the real clock
    before, after = FakeAuthority(now=now), FakeAuthority(now=now)
    path.write_bytes(before.pem)
    leaf = after.issue("localhost", dns_names=("localhost",), usages=(SERVER,))
    (tmp_path / "leaf.pem").write_bytes(leaf.pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")
    with raw(plain, context) as url:
        client = client_of(url, ca_file=path)
        for text in (before.pem, b"", after.pem):  # while it is written, those from before hold
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                get(client)
            path.write_bytes(text)
        with pytest.raises(Unreachable):
            get(client)
        assert get(client).body == b"ok"


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, 0), ("0", 0), ("17", 17), ("-1", 0), ("x", 0), ("9" * 5000, 2**31)]
)
def test_an_answer_says_for_how_long_caches_have_held_it(value: str | None, seconds: int) -> None:
    """RFC 9111 §5.1; whoever writes nonsense has said nothing."""
    headers = {} if value is None else {"age": value}
    assert Answer(200, headers, b"").age_seconds == seconds


def test_requests_of_many_threads_don_t_mix() -> None:
    """Each has a connection to itself."""

    def behave(handler: Any) -> None:
        plain(handler, handler.path.encode())

    with raw(behave) as url:
        client = client_of(url)
        wrong: list[bytes] = []

        def ask(number: int) -> None:
            for turn in range(20):
                path = f"/{number}/{turn}"
                found = get(client, path, seconds=20).body
                if found != path.encode():
                    wrong.append(found)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        client.close()


def test_the_server_of_these_tests_can_go_and_come() -> None:
    """At the same place."""
    with serving() as server:
        client = client_of(server.url)
        assert get(client, METADATA, max_bytes=9000).status == 200
        server.shut()
        with pytest.raises(Unreachable):
            get(client, METADATA)
        server.open()
        until(lambda: _is_there(client, server))


def _is_there(client: Client, server: FeedServer) -> bool:
    try:
        return get(client, METADATA, max_bytes=9000).status == 200 and bool(server.asked)
    except Unreachable:
        return False
