"""What a server of ours makes of bytes on the wire: the parts of HTTP that no test client lets through."""

import contextlib
import json
import resource
import socket
from collections.abc import Iterator

import pytest

from payymo.logs import Trace
from tests.conftest import Copied
from tests.support.house import PASSWORD, Database, House
from tests.support.processes import Server, bearer, log_in, servers

LOGIN = json.dumps({"email": "alice@example.com", "password": PASSWORD}).encode()
WRONG = json.dumps({"email": "nobody@example.com", "password": PASSWORD}).encode()


@contextlib.contextmanager
def serving(database: Database, *, logins: str) -> Iterator[Server]:
    """A server that trusts a proxy on the loopback."""
    house = House(database)
    house.user("alice")
    acme = house.services.administration.create_tenant("acme", "Acme", host="acme.example", by=None, trace=Trace())
    house.user("alice", tenant=acme)
    house.close()
    settings = {
        "PAYYMO_TRUSTED_PROXIES": '["127.0.0.1/32"]',
        "PAYYMO_LIMITS__ENABLED": "true",
        "PAYYMO_LIMITS__LOGIN": logins,
        "PAYYMO_SERVER__REQUEST_SECONDS": "2",
    }
    with servers(database, 1, **settings) as [started]:
        yield started


@pytest.fixture(scope="module")
def server(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all: what one of them sends must not matter to the next."""
    with copied("sqlite", tmp_path_factory.mktemp("raw")) as database, serving(database, logins="9999/minute") as found:
        yield found


@pytest.fixture
def crowded(sqlite_database: Database) -> Iterator[Server]:
    """A server of this test's own, which fills it with connections."""
    with serving(sqlite_database, logins="9999/minute") as found:
        yield found


@pytest.fixture
def limited(sqlite_database: Database) -> Iterator[Server]:
    """A server of this test's own, which lets three logins a minute through."""
    with serving(sqlite_database, logins="3/minute") as found:
        yield found


def send(server: Server, data: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to these bytes. The server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def post(
    body: bytes, *lines: bytes, target: bytes = b"/api/auth/login", host: bytes = b"Host: x", version: bytes = b"1.1"
) -> bytes:
    """A login, with more header lines."""
    head = [b"POST " + target + b" HTTP/" + version, b"Content-Type: application/json", *lines]
    head += [b"Content-Length: %d" % len(body), b"Connection: close", *([host] if host else [])]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_a_name_with_an_underscore_overrules_nothing(limited: Server) -> None:
    """RFC 9110 §17.10: whatever stands before or after it, the address is the one that the proxy has written."""
    statuses = []
    for number in range(5):
        mine, theirs = b"X-Forwarded-For: 192.0.2.1", b"X_Forwarded_For: 198.51.100.%d" % number
        order = (mine, theirs) if number % 2 else (theirs, mine)
        statuses.append(send(limited, post(WRONG, *order))[0])
    assert statuses == [401, 401, 401, 429, 429]
    assert send(limited, post(LOGIN, b"X-Forwarded-For: 192.0.2.2", b"X_Tenant: nothing"))[0] == 200


def test_the_proxys_own_entry_is_the_last_of_several(limited: Server) -> None:
    """A stranger's own X-Forwarded-For stands before the proxy's, in the same line or in one of its own."""
    real, more = b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 198.51.100.7"
    assert [send(limited, post(WRONG, more, real))[0] for _ in range(4)] == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(LOGIN, host=b"", version=b"1.0"), 200),
        (post(LOGIN, host=b"Host:"), 404),
        (post(LOGIN, host=b"Host: \xff"), 400),
        (post(LOGIN, host=b"Host: a.example\r\nHost: b.example"), 404),
        (post(LOGIN, target=b"http://acme.example/api/auth/login", host=b"Host: other.example"), 200),
        (post(LOGIN, b"Content-Type: text/plain"), 415),
        (post(LOGIN, b"Content-Type: application/json"), 415),
        (post(LOGIN, target=b"/api/auth/login?a=%ff&b=%00"), 200),
        (post(LOGIN, target=b"/api/auth/%ff%00"), 404),
        (post(b"x" * 17_000), 413),
        (b"GET /api/admin/roles/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        (b"GET /account?a=\xc3\xa4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 303),
        (b"GET /account?a=\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"TRACE /api/auth/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    ],
    ids=[
        "HTTP/1.0 without host",
        "empty host",
        "octets in host",
        "two hosts",
        "absolute target",
        "two content types",
        "one content type twice",
        "octets in query",
        "octets in path",
        "large",
        "octet in name",
        "unescaped query of a page",
        "octet in the query of a page",
        "TRACE",
        "asterisk",
    ],
)
def test_whatever_is_sent_gets_an_answer_that_fits(server: Server, request_bytes: bytes, status: int) -> None:
    """Never a 5xx, never silence."""
    assert send(server, request_bytes)[0] == status


def test_an_absolute_target_names_the_host(server: Server) -> None:
    """RFC 9112 §3.2.2: it overrules Host, so that nobody between us takes the request for another tenant's."""
    status, body = send(server, post(LOGIN, target=b"http://acme.example/api/auth/login", host=b"Host: x"))
    with server.client() as client:
        default = log_in(client)["user"]["tenant_id"]
    assert status == 200
    assert json.loads(body)["data"]["user"]["tenant_id"] != default


@pytest.mark.parametrize(
    ("coding", "status"), [(b"chunked", 200), (b"Chunked", 200), (b"gzip, chunked", 400), (b"chunked, chunked", 400)]
)
def test_no_transfer_coding_is_taken_for_nothing(server: Server, coding: bytes, status: int) -> None:
    """RFC 9112 §6.1: what was coded and is not undone would be read as something that nobody wrote."""
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: " + coding + b"\r\nConnection: close\r\n\r\n"
    assert send(server, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LOGIN), LOGIN))[0] == status


@pytest.mark.parametrize("chunks", [b"13\r\n", b"0x13\r\n{}", b""])
def test_a_body_that_broke_off_is_no_empty_body(server: Server, chunks: bytes) -> None:
    """RFC 9112 §8: `{"everywhere": true}` that got lost must not end this one session alone, and answer that it did."""
    with server.client() as client:
        token = log_in(client)["access_token"]
    head = b"POST /api/auth/logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode()
    head += b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + chunks)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    with server.client() as client:
        assert client.get("/api/auth/me", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"X-Forwarded-For: \xff, 203.0.113.9", 400),
        (b"X-Tenant: \xff", 400),
        (b"X-Tenant: \xc3\xa9", 400),
        (b"X-Tenant: \xff\r\nX-Tenant: default", 400),
        (b"X-Forwarded-For: \xff, 203.0.113.9\r\nX-Forwarded-For: 198.51.100.7", 400),
        (b"Cookie: somebody=\xc3\xa9", 200),
        (b"X-Any: \xff\xfe", 200),
    ],
)
def test_a_header_that_can_not_be_read_is_not_taken_for_none(server: Server, line: bytes, status: int) -> None:
    """Without it the proxy would be the client, and the default tenant the one that was named."""
    answer, body = send(server, post(LOGIN, line))
    assert answer == status
    assert status == 200 or json.loads(body)["code"] == "malformed_request"


def test_a_cookie_of_somebody_else_is_told_of(server: Server) -> None:
    """One that is not ASCII takes ours along, for they come in one header: no form is out of date because of that."""
    cookies = b"Cookie: payymo-visit=" + b"A" * 43 + b"=; name=M\xc3\xbcller"
    for method, path in ((b"GET", b"/sign-in"), (b"GET", b"/account"), (b"POST", b"/sign-in")):
        sent = post(b"a=b", cookies, b"Origin: http://x", b"Sec-Fetch-Site: same-origin", target=path)
        sent = sent.replace(b"POST", method, 1).replace(b"application/json", b"application/x-www-form-urlencoded")
        status, body = send(server, sent)
        assert (status, b"Delete the cookies of this site" in body) == (400, True)


def test_a_path_has_one_spelling(server: Server) -> None:
    """Who stands before us may have rules for `/api`, and none for `//api`."""
    for target in (b"//api/auth/login", b"///api/auth/login", b"/%2fapi/auth/login"):
        assert send(server, post(LOGIN, target=target))[0] == 404


@pytest.mark.parametrize("target", [b"evil.example", b"evil.example:443", b"*"])
def test_no_answer_leads_to_where_the_request_says(server: Server, target: bytes) -> None:
    """RFC 9112 §3.2.3: a host alone is what CONNECT asks for, and there is nothing to go on to there."""
    for method in (b"GET", b"POST"):
        assert send(server, post(LOGIN, target=target).replace(b"POST", method, 1))[0] == 404


@pytest.mark.parametrize("method", [b"post", b"Post", b"posT"])
def test_a_method_has_one_spelling(server: Server, method: bytes) -> None:
    """RFC 9110 §9.1: as another one it would pass by the line for who hashes a password, and by a proxy's rules."""
    status, body = send(server, post(LOGIN).replace(b"POST", method, 1))
    assert (status, json.loads(body)["code"]) == (400, "malformed_request")


@pytest.mark.parametrize(("size", "is_read"), [(60_000, True), (200_000, False), (400_000, False)])
def test_a_head_is_not_as_large_as_anybody_likes(server: Server, size: int, *, is_read: bool) -> None:
    """Lists in it are taken apart also for who is not counted: what they cost must not grow with what is sent."""
    head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: " + b"a/b," * (size // 4)
    answer = b""
    # A connection that ends before all of it was sent may take the answer along.
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as one, contextlib.suppress(ConnectionError):
        one.sendall(head + b"*/*\r\n\r\n")
        answer = one.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ") == is_read


def test_clients_that_do_not_read_are_let_go(crowded: Server) -> None:
    """More of them than were once taken at a time, each with answers that nobody fetches."""
    _, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (at_most, at_most))
    asked = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200
    deaf = []
    for _ in range(1100):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect(("127.0.0.1", crowded.port))
        connection.settimeout(0)
        with contextlib.suppress(OSError):
            connection.send(asked)
        deaf.append(connection)
    with crowded.client() as client:
        assert client.get("/health/live").status_code == 200
    for connection in deaf:
        connection.close()


@pytest.mark.parametrize("size", [16_000, 17_000, 200_000])
def test_a_body_in_chunks_is_read_whole_or_refused(server: Server, size: int) -> None:
    """Not cut off: what was sent would not be what was understood."""
    padded = LOGIN + b" " * (size - len(LOGIN))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (padded[:100], padded[100:]))
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    data = head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert send(server, data)[0] == (200 if size < 16_384 else 413)


@pytest.mark.parametrize(("size", "status"), [(16, 200), (1, 400)])
def test_a_body_does_not_come_octet_by_octet(server: Server, size: int, status: int) -> None:
    """A hundred thousand pieces took the event loop for four seconds, before anybody was asked who sends them."""
    padded = LOGIN + b" " * (4000 - len(LOGIN))
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, padded[at : at + size]) for at in range(0, len(padded), size))
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    data = head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
    answer, body = send(server, data)
    assert (answer, b"too many pieces" in body) == (status, status == 400)


def test_less_than_was_announced_is_not_taken_for_the_whole(server: Server) -> None:
    """RFC 9112 §8: what a broken connection has left of a request is no request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(post(LOGIN + b" " * 20)[:-20])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_slow_senders_keep_nobody_waiting(crowded: Server) -> None:
    """More of them than there are threads, each with a body that never ends."""
    slow = [socket.create_connection(("127.0.0.1", crowded.port), timeout=20) for _ in range(20)]
    for connection in slow:
        connection.sendall(post(LOGIN)[:-5])
    with crowded.client() as client:
        assert client.get("/health/ready").status_code == 200
        log_in(client)
    for connection in slow:
        connection.close()


def test_a_body_that_does_not_come_is_not_waited_for(server: Server) -> None:
    """Whoever sends half and keeps still is told so, whether they announced a length or not."""
    chunked = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunked += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%b\r\n" % (len(LOGIN), LOGIN)
    for data in (post(LOGIN)[:-5], chunked):
        status, body = send(server, data)
        assert (status, json.loads(body)["code"]) == (408, "request_timeout")


def test_silent_connections_are_closed(crowded: Server) -> None:
    """More of them than a server takes at a time: without an end they would shut everybody else out."""
    _, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (at_most, at_most))
    silent = [socket.create_connection(("127.0.0.1", crowded.port), timeout=20) for _ in range(1200)]
    with crowded.client() as client:
        assert client.get("/health/ready").status_code == 200
    for connection in silent:
        connection.close()
