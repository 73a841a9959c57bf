"""A real handshake on the loopback, with what a listener is given and with what was exported."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from payymo.certificates.making import parse_names
from payymo.certificates.model import AUTHORITY
from payymo.clock import system_clock
from payymo.logs import Trace
from payymo_guard.fake_authority import FakeAuthority
from tests.support.certificates import NAME
from tests.support.house import Database, House

PASSWORD = "correct-horse-battery-staple"
NAMES = parse_names(["localhost"], ["127.0.0.1"], [])
STRANGER = FakeAuthority("Stranger", now=system_clock()).pem
TRACE = Trace()


@pytest.fixture
def today(sqlite_database: Database) -> Iterator[House]:
    """The service on the machine's clock, because TLS is on it, with a certificate for the loopback."""
    house = House(sqlite_database, clock=system_clock)
    house.services.development_authority.issue(NAME, NAMES, trace=TRACE)
    yield house
    house.close()


def shaken(folder: Path, chain: bytes, key: bytes, authority: bytes, host: str) -> str:
    """What the client hears from a server with this chain and key."""
    pem = folder / f"server-{len(list(folder.iterdir()))}.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(chain + key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=authority.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            raw, _ = listener.accept()
            try:
                with server.wrap_socket(raw, server_side=True) as connection:
                    connection.sendall(b"hello")
            except ssl.SSLError:
                raw.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=10) as raw,
                client.wrap_socket(raw, server_hostname=host) as connection,
            ):
                return connection.recv(5).decode()
        finally:
            thread.join()


def authority_of(house: House) -> bytes:
    return (house.services.certificates.get(AUTHORITY).chain_pem or "").encode()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_authority_shakes_hands(today: House, tmp_path: Path, host: str) -> None:
    """By name and by address; nobody else's name, and nobody who trusts another authority."""
    found = today.services.certificates.current(NAME, trace=TRACE)
    assert found is not None
    given = (found.chain_pem, found.private_key_pem)
    assert shaken(tmp_path, *given, authority_of(today), host) == "hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(tmp_path, *given, authority_of(today), "example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(tmp_path, *given, STRANGER, host)


def test_an_export_shakes_hands_and_opens_with_openssl(today: House, tmp_path: Path) -> None:
    """With its password; the key is the one of the certificate."""
    packed = today.services.certificates.export(NAME, None, PASSWORD, trace=TRACE)
    opened = pkcs12.load_pkcs12(packed, PASSWORD.encode())
    assert opened.cert is not None
    assert opened.key is not None
    chain = opened.cert.certificate.public_bytes(Encoding.PEM)
    key = opened.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert shaken(tmp_path, chain, key, authority_of(today), "localhost") == "hello"
    file = tmp_path / "x.p12"
    file.write_bytes(packed)
    words = ["openssl", "pkcs12", "-in", file, "-nodes", "-passin", f"pass:{PASSWORD}"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.count("BEGIN CERTIFICATE") == 2
    assert done.stdout.count("BEGIN PRIVATE KEY") == 1
    words[-1] = "pass:another"
    assert subprocess.run(words, check=False, capture_output=True).returncode != 0


def test_openssl_accepts_a_chain_strictly(today: House, tmp_path: Path) -> None:
    """RFC 5280 to the letter, for name and address."""
    root, chain = tmp_path / "root.pem", tmp_path / "chain.pem"
    root.write_bytes(authority_of(today))
    chain.write_text(today.services.certificates.get(NAME).chain_pem or "")
    for check in (["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"]):
        words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, *check, chain]
        subprocess.run(words, check=True, capture_output=True)
