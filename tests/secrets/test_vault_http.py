"""Requests to Vault: what comes of every answer, over which connections, with which token, and who sees it."""

import gzip
import json
import logging
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier

import pytest

from payymo.clock import system_clock
from payymo.errors import Misconfigured, Unavailable
from payymo.secrets.vault_http import IDLE_SECONDS, Vault, connect
from payymo_guard.fake_authority import SERVER, FakeAuthority
from tests.support.crew import Crew
from tests.support.processes import PAYYMO
from tests.support.vault import ROOT, FakeVault, Seen
from tests.support.vault_server import VALUE, VaultServer, access_to, ask, everything_of, serving


def instead(status: int, content: bytes, **headers: str) -> Callable[[Seen], tuple[int, dict[str, str], bytes]]:
    return lambda _seen: (status, headers, content)


ERRORS = json.dumps({"errors": [f"{VALUE} {ROOT}"]}).encode()
NO_ANSWERS = {
    "too many": (429, ERRORS, "takes no more requests"),
    "not yet consistent": (412, ERRORS, "answers with 412"),
    "internal error": (500, ERRORS, "answers with 500"),
    "bad gateway": (502, b"<html>", "answers with 502"),
    "sealed": (503, ERRORS, "is sealed"),
    "standby": (473, ERRORS, "is a standby"),
    "not there": (405, ERRORS, "answers with 405"),
    "a page": (200, b"<html>THE-VALUE</html>", "is it Vault that answers"),
    "a list": (200, b'["THE-VALUE"]', "is it Vault that answers"),
    "nothing": (200, b"", "is it Vault that answers"),
    "half": (200, b'{"data": {"ciphertext": "vau', "is it Vault that answers"),
    "octets": (200, b"\xff\xfe\x00", "is it Vault that answers"),
    "deep": (200, b"[" * 100_000, "is it Vault that answers"),
    "long": (200, b'{"data": "' + b"x" * 2**20 + b'"}', "is it Vault that answers"),
    "a long number": (200, b'{"data": ' + b"9" * 5000 + b"}", "is it Vault that answers"),
    "no members": (200, b"{}", "nothing sealed"),
    "strange members": (200, b'{"data": {"ciphertext": ["THE-VALUE"]}}', "nothing sealed"),
    "not sealed": (200, b'{"data": {"ciphertext": "THE-VALUE"}}', "nothing sealed"),
    "data is text": (200, b'{"data": "THE-VALUE"}', "nothing sealed"),
    "a page that is not there": (404, b"<html>THE-VALUE", "is it Vault that answers"),
    "a page of a gatekeeper": (403, b"<html>THE-VALUE", "is it Vault that answers"),
    "refused": (403, ERRORS, "none of its policies allows this"),
    "no engine": (404, ERRORS, "no Transit engine"),
    "no reason": (400, b"{}", "nothing sealed"),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_every_answer_that_is_none_is_one_sentence(
    vault: VaultServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Which request, and why; nothing that was sent or answered, in no exception and no log."""
    status, content, sentence = NO_ANSWERS[kind]
    vault.vault.instead = instead(status, content, **{"Content-Type": "application/json"})
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as refused:
        ask(access_to(vault.address))
    assert sentence in (refused.value.private or "")
    assert "transit/encrypt/payymo" in (refused.value.private or "")
    for hidden in (VALUE, ROOT, "VEhFLVZBTFVF"):
        assert hidden not in everything_of(refused.value) + caplog.text
    assert vault.address not in str(refused.value)
    assert len(vault.vault.seen) == 1


def test_who_hangs_up_or_is_not_there_is_no_answer_and_asked_once(
    vault: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether something was done, nobody knows: so nothing is done again."""
    vault.vault.is_down = True
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as refused:
        ask(access_to(vault.address))
    assert "no answer (ConnectionError)" in (refused.value.private or "")
    assert ROOT not in everything_of(refused.value) + caplog.text
    assert len(vault.vault.seen) == 1
    with serving(FakeVault(system_clock)) as gone:
        pass
    with pytest.raises(Unavailable, check=lambda error: "no answer" in (error.private or "")):
        ask(access_to(gone.address))


def test_who_never_answers_is_left_in_time(vault: VaultServer) -> None:
    """A timeout is always set."""
    meeting = Barrier(2)
    vault.vault.before = lambda _seen: meeting.wait(30)
    with pytest.raises(Unavailable, check=lambda error: "ReadTimeout" in (error.private or "")):
        ask(access_to(vault.address))
    meeting.abort()


def test_a_packed_answer_is_not_unpacked(vault: VaultServer) -> None:
    """Nobody asked for one, and a small one can be huge."""
    packed = gzip.compress(b'{"data": {"ciphertext": "vault:v1:AAAA"}}')
    vault.vault.instead = instead(200, packed, **{"Content-Encoding": "gzip"})
    with pytest.raises(Unavailable, check=lambda error: "is it Vault that answers" in (error.private or "")):
        ask(access_to(vault.address))
    assert vault.vault.seen[0].headers["Accept-Encoding"] == "identity"


TRICKLES = {
    "head": (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("part", TRICKLES)
def test_who_answers_a_bit_at_a_time_is_left_in_time(part: str) -> None:
    """Each wait is short, and there is no end of them: the deadline is for the whole answer."""
    first, again = TRICKLES[part]
    with socket.create_server(("127.0.0.1", 0)) as listener, Crew(1) as pool:
        was_left = pool.submit(trickle, listener, first, again)
        with pytest.raises(Unavailable, check=lambda error: "no answer" in (error.private or "")):
            ask(access_to(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        assert was_left.result()


def trickle(listener: socket.socket, first: bytes, again: bytes) -> bool:
    """Until the other side has hung up: True; or has waited much longer than it should."""
    connection, _ = listener.accept()
    with connection:
        try:
            connection.sendall(first)
            for _ in range(80):  # four times as long as is waited; fewer than there may be headers
                connection.sendall(again)
                if select.select([connection], [], [], 0.1)[0] and not connection.recv(65536):
                    return True
        except OSError:
            return True
    return False


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(vault: VaultServer, status: int) -> None:
    """The token would go along."""
    with serving(FakeVault(system_clock)) as other:
        vault.vault.instead = instead(status, b"{}", Location=f"{other.address}/v1/transit/encrypt/payymo")
        with pytest.raises(Unavailable, check=lambda error: "sends us elsewhere" in (error.private or "")):
            ask(access_to(vault.address))
        assert other.vault.seen == []


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[VaultServer, Path]]:
    """A Vault with TLS, and the file of its authority."""
    authority = FakeAuthority(now=system_clock())
    found = authority.issue("vault", dns_names=("localhost",), usages=(SERVER,))
    certificate, ca_file = tmp_path / "vault.pem", tmp_path / "ca.pem"
    certificate.write_bytes(found.pem + found.key_pem)
    ca_file.write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    fake = FakeVault(system_clock)
    fake.make_key()
    with serving(fake, tls=context) as server:
        server.address = f"https://localhost:{server.server_address[1]}"
        yield server, ca_file


def test_its_certificate_is_checked_with_the_authority_that_was_named(
    over_tls: tuple[VaultServer, Path], tmp_path: Path
) -> None:
    """With no other, and for the name in the address; before the token is sent."""
    server, ca_file = over_tls
    other = tmp_path / "other.pem"
    other.write_bytes(FakeAuthority(now=system_clock()).pem)
    by_number = server.address.replace("localhost", "127.0.0.1")
    for address, authority in ((server.address, None), (server.address, other), (by_number, ca_file)):
        with pytest.raises(Unavailable, check=lambda error: "no answer (SSLError)" in (error.private or "")):
            ask(access_to(address, ca_file=authority))
    assert server.vault.seen == []
    assert ask(access_to(server.address, ca_file=ca_file)) == VALUE.encode()
    with pytest.raises(Misconfigured, match="PAYYMO_VAULT__CA_FILE: there is no file"):
        ask(access_to(server.address, ca_file=tmp_path / "none.pem"))


def test_nothing_of_the_environment_has_a_say(over_tls: tuple[VaultServer, Path], tmp_path: Path) -> None:
    """Proxies, a client certificate, other authorities, addresses, tokens, namespaces: those of the settings alone."""
    server, ca_file = over_tls
    (tmp_path / ".netrc").write_text("machine localhost login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / ".vault-token").write_text("hvs.of-somebody-else")
    nowhere = "http://127.0.0.1:1"
    environment = {
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), nowhere),
        **dict.fromkeys(("VAULT_ADDR", "VAULT_AGENT_ADDR"), nowhere),
        **dict.fromkeys(("VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_CACERT", "VAULT_CAPATH"), "/none.pem"),
        **dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/none.pem"),
        "VAULT_TOKEN": "hvs.of-somebody-else",
        "VAULT_NAMESPACE": "elsewhere",
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / ".netrc"),
        "PAYYMO_DATA": str(tmp_path / "data"),
        "PAYYMO_VAULT__ADDRESS": server.address,
        "PAYYMO_VAULT__TOKEN": ROOT,
        "PAYYMO_VAULT__CA_FILE": str(ca_file),
        "PAYYMO_MASTER_KEY": "vault:transit/payymo",
    }
    words = [PAYYMO, "secret", "put", "a", "--at", "vault:secret/payymo"]
    subprocess.run([PAYYMO, "db", "upgrade"], env=environment, check=True, capture_output=True, timeout=60)
    done = subprocess.run(words, env=environment, input=b"x", capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert server.vault.entries["payymo/a"].values == {1: {"value": "x"}}
    for seen in server.vault.seen:
        assert seen.headers["X-Vault-Token"] == ROOT
        assert not {"Authorization", "X-Vault-Namespace"} & set(seen.headers)


def test_threads_have_connections_of_their_own_and_keep_them(vault: VaultServer) -> None:
    """One after the other, so that a shared session would give the second one the connection of the first."""
    access = access_to(vault.address)
    shared = connect(access, "x")
    with Crew(1) as one, Crew(1) as other:
        for pool in (one, other, one, other):
            pool.submit(ask, access, shared).result()
    first, second, *again = [seen.port for seen in vault.vault.seen][::2]
    assert first != second
    assert again == [first, second]


def test_a_connection_that_was_idle_for_long_is_not_used_again(vault: VaultServer) -> None:
    """Something between may have forgotten it, and would swallow the request."""
    access, now = access_to(vault.address), [0.0]
    assert access.vault is not None
    patient = Vault(access.vault, lambda: now[0])
    ports = []
    for pause in (0.0, IDLE_SECONDS - 1, IDLE_SECONDS, IDLE_SECONDS + 1):
        now[0] += pause
        ask(access, patient)
        ports.append(vault.vault.seen[-1].port)
    assert ports[0] == ports[1] == ports[2] != ports[3]


FORK = """
import os, sys
from tests.support.vault_server import VALUE, access_to, ask, connect
access = access_to(sys.argv[1])
shared = connect(access, "x")
ask(access, shared)
child = os.fork()
ask(access, shared)
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
ask(access, shared)
"""


def test_a_forked_process_opens_connections_of_its_own(vault: VaultServer) -> None:
    """Two that speak over one would read each other's answers."""
    subprocess.run([sys.executable, "-c", FORK, vault.address], check=True, timeout=60)
    assert len({seen.port for seen in vault.vault.seen}) == 2
    assert len(vault.vault.seen) == 8


def test_the_namespace_is_named_in_every_request(vault: VaultServer) -> None:
    """`X-Vault-Namespace`; without it, another tenant of Vault would be asked."""
    vault.vault.namespace = "team-a"
    assert ask(access_to(vault.address, namespace="team-a")) == VALUE.encode()
    with pytest.raises(Unavailable):
        ask(access_to(vault.address))
