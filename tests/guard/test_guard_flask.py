"""Views behind client certificates and signatures, with real TLS on the loopback: ended here, and ended by a proxy."""

import http.client
import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import WSGIRequestHandler, make_server

from payymo_guard.certificates import TrustSet
from payymo_guard.client_cert import write_certificate
from payymo_guard.fake_authority import SERVER, FakeAuthority, FakeCertificate
from payymo_guard.flask import PeerGuard, certificate, require_client_certificate, require_signature, webhook
from payymo_guard.webhooks import Memory, WebhookVerifier, sign
from tests.guard.ports import free_port

system_clock = time.time  # noqa: TID251 - OpenSSL looks at the same clock, and at no other
NOW = system_clock()
DAY = 86_400
ROOT = FakeAuthority("Bank root", now=NOW)
BETWEEN = FakeAuthority("Bank issuing", now=NOW, above=ROOT)
STRANGER = FakeAuthority("Bank root", now=NOW)
OURS = FakeAuthority("Our own root", now=NOW)
LISTENER = OURS.issue("localhost", dns_names=("localhost",), usages=(SERVER,))
SECRET = b"0123456789abcdef01234567"
NAMES = ("pay.bank.test",)
GOOD = BETWEEN.issue("pay.bank.test", dns_names=NAMES)
PIN = TrustSet.from_pem("x", ROOT.pem, intermediates=BETWEEN.pem).verify(GOOD.der, at=NOW).pin


def bank(**more: Any) -> TrustSet:
    return TrustSet.from_pem("bank", ROOT.pem, intermediates=BETWEEN.pem, **({"names": NAMES} | more))


def build(**more: Any) -> tuple[Flask, PeerGuard]:
    """A receiver of webhooks: no server of ours anywhere."""
    app = Flask("receiver")
    webhooks = {"bank": WebhookVerifier([SECRET], memory=Memory())}
    guard = PeerGuard(app, **({"trust": [bank()], "webhooks": webhooks} | more))

    @app.post("/hook")
    @require_client_certificate(trust="bank")
    @require_signature(webhook="bank")
    def hook() -> dict[str, str]:
        return {"from": certificate().subject, "message": webhook().identifier, "body": request.get_data(as_text=True)}

    @app.get("/who")
    @require_client_certificate(trust="bank")
    def who() -> dict[str, str]:
        return {"from": certificate().subject}

    return app, guard


class Quiet(WSGIRequestHandler):
    """Writes no log."""

    def log(self, *_: Any) -> None:
        """Nothing."""


def tls(folder: Path, *, trusted: bytes) -> ssl.SSLContext:
    """A server's side that asks for a client certificate and lets those in who have none."""
    (folder / "server.pem").write_bytes(LISTENER.pem + LISTENER.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=trusted.decode())
    return context


@contextmanager
def serving(app: Flask, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The application behind a real listener. Answers its port."""
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=context, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def proxying(folder: Path, to: int) -> Iterator[int]:
    """A proxy that ends TLS and says by `Client-Cert` whom it has seen (RFC 9440). Answers its port."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen = self.connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
            headers = {"Client-Cert": write_certificate(seen)} if seen else {}  # what the client sent is not handed on
            upstream = http.client.HTTPConnection("127.0.0.1", to, timeout=20)
            upstream.request("GET", self.path, headers=headers)
            answer = upstream.getresponse()
            body = answer.read()
            upstream.close()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.socket = tls(folder, trusted=ROOT.pem + BETWEEN.pem + STRANGER.pem).wrap_socket(
        server.socket, server_side=True
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(
    folder: Path, port: int, shown: FakeCertificate | None, *, headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, dict[str, Any]]:
    """One request over a new TLS connection."""
    context = ssl.create_default_context(cadata=OURS.pem.decode())
    if shown is not None:
        (folder / "client.pem").write_bytes(shown.pem + shown.key_pem)
        context.load_cert_chain(folder / "client.pem")
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request(
            "POST" if body else "GET", "/hook" if body else "/who", body=body or None, headers=headers or {}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


# ── TLS that ends here ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def direct(tmp_path: Path) -> Iterator[tuple[int, PeerGuard]]:
    """The receiver, ending TLS itself."""
    app, guard = build()
    with serving(app, tls(tmp_path, trusted=ROOT.pem + BETWEEN.pem)) as port:
        yield port, guard


def test_the_right_certificate_comes_in(direct: tuple[int, PeerGuard], tmp_path: Path) -> None:
    """Over real TLS, and the view knows who it is."""
    assert ask(tmp_path, direct[0], GOOD) == (200, {"from": "CN=pay.bank.test"})


def test_a_signed_webhook_with_a_certificate_comes_in_once(direct: tuple[int, PeerGuard], tmp_path: Path) -> None:
    """The case that all of this is about: who sends, and what, and only once."""
    body = b'{"amount":100}'
    headers = sign(SECRET, "msg_1", int(system_clock()), body)
    status, answer = ask(tmp_path, direct[0], GOOD, headers=headers, body=body)
    assert (status, answer) == (200, {"from": "CN=pay.bank.test", "message": "msg_1", "body": body.decode()})
    for sent, code in ((headers, "signature_replayed"), ({}, "signature_missing")):
        status, answer = ask(tmp_path, direct[0], GOOD, headers=sent, body=body)
        assert (status, answer["code"]) == (403, code)
    status, answer = ask(tmp_path, direct[0], None, headers=sign(SECRET, "msg_2", int(system_clock()), body), body=body)
    assert (status, answer["code"]) == (403, "certificate_missing")


@pytest.mark.parametrize(
    ("shown", "change", "code"),
    [
        (None, {}, "certificate_missing"),
        (BETWEEN.issue(dns_names=("other.bank.test",)), {}, "certificate_name_wrong"),
        (BETWEEN.issue(dns_names=NAMES), {"pins": (PIN,)}, "certificate_pin_wrong"),
        (GOOD, {"revocation_lists": [BETWEEN.revocation_list([GOOD]), ROOT.revocation_list()]}, "certificate_revoked"),
        (GOOD, {"revocation_required": True}, "revocation_unknown"),
    ],
    ids=["none", "name", "pin", "revoked", "no list"],
)
def test_what_openssl_lets_through_is_refused_here(
    direct: tuple[int, PeerGuard], tmp_path: Path, shown: FakeCertificate | None, change: dict[str, Any], code: str
) -> None:
    """Names, pins and revocation are nobody else's business; the trust set is replaced while the server runs."""
    direct[1].replace(bank(**change))
    status, answer = ask(tmp_path, direct[0], shown)
    assert (status, answer["code"]) == (403, code)
    direct[1].replace(bank())
    assert ask(tmp_path, direct[0], GOOD)[0] == 200


@pytest.mark.parametrize(
    "shown",
    [
        STRANGER.issue(dns_names=NAMES),
        ROOT.issue(dns_names=NAMES, begins=NOW - 9 * DAY, ends=NOW - DAY),
        ROOT.issue(dns_names=NAMES, begins=NOW + DAY, ends=NOW + 9 * DAY),
        ROOT.issue(dns_names=NAMES, usages=(SERVER,)),
    ],
    ids=["wrong authority", "expired", "not yet valid", "for servers"],
)
def test_what_openssl_refuses_does_not_come_so_far(
    direct: tuple[int, PeerGuard], tmp_path: Path, shown: FakeCertificate
) -> None:
    """The handshake fails, and the next client is served."""
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        ask(tmp_path, direct[0], shown)
    assert ask(tmp_path, direct[0], GOOD)[0] == 200


def test_a_client_renews_in_mid_run(direct: tuple[int, PeerGuard], tmp_path: Path) -> None:
    """The same key: nothing to do. Another key: both pins for a while, then the new one alone."""
    renewed, rekeyed = BETWEEN.issue(dns_names=NAMES, key=GOOD.key), BETWEEN.issue(dns_names=NAMES)
    new = bank().verify(rekeyed.der, at=NOW).pin
    for pins, expected in (((PIN,), [200, 200, 403]), ((PIN, new), [200, 200, 200]), ((new,), [403, 403, 200])):
        direct[1].replace(bank(pins=pins))
        assert [ask(tmp_path, direct[0], shown)[0] for shown in (GOOD, renewed, rekeyed)] == expected


def test_the_header_is_nothing_where_tls_ends_here(direct: tuple[int, PeerGuard], tmp_path: Path) -> None:
    """Not even beside a certificate, and not from the machine itself."""
    header = {"Client-Cert": write_certificate(GOOD.der)}
    status, answer = ask(tmp_path, direct[0], None, headers=header)
    assert (status, answer["code"]) == (403, "certificate_missing")
    other = BETWEEN.issue(dns_names=("other.bank.test",))
    status, answer = ask(tmp_path, direct[0], other, headers=header)
    assert (status, answer["code"]) == (403, "certificate_name_wrong")


# ── TLS that ends in a proxy ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_trusted_proxy_says_who_it_is(tmp_path: Path) -> None:
    """Over real TLS to the proxy: the certificate that it has seen, and not the one that the client claims to have."""
    app, _ = build(trusted_proxies=["127.0.0.0/8"])
    with serving(app) as inner, proxying(tmp_path, inner) as port:
        assert ask(tmp_path, port, GOOD) == (200, {"from": "CN=pay.bank.test"})
        claim = {"Client-Cert": write_certificate(GOOD.der)}
        assert ask(tmp_path, port, None, headers=claim)[1]["code"] == "certificate_missing"
        assert ask(tmp_path, port, STRANGER.issue(dns_names=NAMES), headers=claim)[1]["code"] == "certificate_untrusted"


def through(address: str, headers: dict[str, str], wrap: Callable[[Any], Any] | None = None) -> str:
    """The code of the answer to a proxy at this address; nothing when it was let in."""
    app, _ = build(trusted_proxies=["10.0.0.0/8", "fd00::/8"])
    if wrap is not None:
        app.wsgi_app = wrap(app.wsgi_app)  # type: ignore[method-assign]
    answer = app.test_client().get("/who", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == (200 if "from" in answer.get_json() else 403)
    return str(answer.get_json().get("code", ""))


CLAIM = {"Client-Cert": write_certificate(GOOD.der)}


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("10.1.2.3", ""),
        ("::ffff:10.1.2.3", ""),
        ("fd00::1", ""),
        ("11.0.0.1", "certificate_missing"),
        ("127.0.0.1", "certificate_missing"),
        ("", "certificate_missing"),
        ("nonsense", "certificate_missing"),
    ],
)
def test_the_header_counts_from_trusted_proxies_alone(address: str, code: str) -> None:
    """RFC 9440 §4: from anybody else it is dropped."""
    assert through(address, CLAIM) == code


def test_who_is_at_the_other_end_is_asked_before_proxy_fix() -> None:
    """Werkzeug's ProxyFix puts the client in the proxy's place: whoever sends `X-Forwarded-For: 10.0.0.1` is none."""
    assert through("10.1.2.3", CLAIM | {"X-Forwarded-For": "203.0.113.9"}, ProxyFix) == ""
    assert through("203.0.113.9", CLAIM | {"X-Forwarded-For": "10.1.2.3"}, ProxyFix) == "certificate_missing"


def test_a_unix_socket_has_no_address_and_is_no_proxy() -> None:
    """Whatever ProxyFix has put there."""
    assert through("", CLAIM | {"X-Forwarded-For": "10.1.2.3"}, ProxyFix) == "certificate_missing"


def test_the_connection_is_asked_where_the_server_shows_it() -> None:
    """Two of ProxyFix hide who was there before the first of them: the socket still knows."""
    app, _ = build(trusted_proxies=["10.0.0.0/8"])
    app.wsgi_app = ProxyFix(ProxyFix(app.wsgi_app))  # type: ignore[method-assign]
    with serving(app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/who", headers=CLAIM | {"X-Forwarded-For": "10.1.2.3"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (403, "certificate_missing")
        connection.close()


EXPIRED = ROOT.issue(dns_names=NAMES, begins=NOW - 9 * DAY, ends=NOW - DAY)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "certificate_missing"),
        ({"Client-Cert": "nonsense"}, "certificate_malformed"),
        ({"Client-Cert": f"{write_certificate(GOOD.der)}, {write_certificate(GOOD.der)}"}, "certificate_malformed"),
        (CLAIM | {"Client-Cert-Chain": "nonsense"}, "certificate_malformed"),
        ({"Client-Cert": write_certificate(STRANGER.issue(dns_names=NAMES).der)}, "certificate_untrusted"),
        (
            {"Client-Cert": write_certificate(EXPIRED.der)},
            "certificate_expired",
        ),
        ({"Client-Cert": write_certificate(ROOT.issue(usages=(SERVER,)).der)}, "certificate_usage_wrong"),
    ],
    ids=["none", "nonsense", "two", "chain", "stranger", "expired", "for servers"],
)
def test_each_refusal_says_why(headers: dict[str, str], code: str) -> None:
    """To the program by its code; to the log with more."""
    assert through("10.1.2.3", headers) == code


def test_a_chain_from_the_proxy_leads_to_the_root() -> None:
    """RFC 9440 §2.3: where the trust set does not know the authority in between."""
    app, guard = build(trusted_proxies=["10.0.0.0/8"])
    guard.replace(TrustSet.from_pem("bank", ROOT.pem))
    proxy = {"REMOTE_ADDR": "10.1.2.3"}
    chain = {"Client-Cert-Chain": ", ".join(map(write_certificate, GOOD.chain))}
    assert app.test_client().get("/who", headers=CLAIM, environ_base=proxy).status_code == 403
    assert app.test_client().get("/who", headers=CLAIM | chain, environ_base=proxy).status_code == 200


def test_an_application_without_a_guard_lets_nobody_in() -> None:
    """A forgotten line is an error, not an open door."""
    app = Flask("bare")
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/who")
    @require_client_certificate(trust="bank")
    def who() -> str:
        return "in"

    assert app.test_client().get("/who").status_code == 500
    PeerGuard(app)
    assert app.test_client().get("/who").status_code == 500


# ── gunicorn ─────────────────────────────────────────────────────────────────────────────────────────────────────────

RECEIVER = """
from pathlib import Path
from flask import Flask
from payymo_guard.certificates import TrustSet
from payymo_guard.flask import PeerGuard, certificate, require_client_certificate

app = Flask(__name__)
here = Path(__file__).parent
PeerGuard(app, trust=[TrustSet.from_pem("bank", (here / "roots.pem").read_bytes(), names=["pay.bank.test"])])


@app.get("/who")
@require_client_certificate(trust="bank")
def who():
    return {"from": certificate().subject}
"""


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[int]:
    """The receiver behind gunicorn, which ends TLS with two workers. Answers its port."""
    (tmp_path / "receiver.py").write_text(RECEIVER)
    (tmp_path / "roots.pem").write_bytes(ROOT.pem)
    (tmp_path / "server.pem").write_bytes(LISTENER.pem + LISTENER.key_pem)
    port = free_port()
    words = [sys.executable, "-m", "gunicorn", "receiver:app", "-b", f"127.0.0.1:{port}", "-k", "gthread", "-w", "2"]
    words += ["--certfile", "server.pem", "--ca-certs", "roots.pem", "--cert-reqs", str(ssl.CERT_OPTIONAL.value)]
    log = tmp_path / "gunicorn.log"
    with log.open("wb") as lines, subprocess.Popen(words, cwd=tmp_path, stderr=lines) as server:
        while b"Listening at" not in log.read_bytes():
            assert server.poll() is None, log.read_text()
        yield port
        server.terminate()


def test_the_same_behind_gunicorn(gunicorn: int, tmp_path: Path) -> None:
    """Certificates that end in somebody else's server process, and headers that claim one."""
    shown = ROOT.issue("pay.bank.test", dns_names=NAMES)
    assert ask(tmp_path, gunicorn, shown) == (200, {"from": "CN=pay.bank.test"})
    assert ask(tmp_path, gunicorn, None, headers=CLAIM)[1]["code"] == "certificate_missing"
    assert ask(tmp_path, gunicorn, ROOT.issue(dns_names=("x.test",)))[1]["code"] == "certificate_name_wrong"
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        ask(tmp_path, gunicorn, STRANGER.issue(dns_names=NAMES))
