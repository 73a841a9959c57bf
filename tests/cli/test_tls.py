"""The server's own TLS certificate: shown, checked before it is, and replaced while everybody works."""

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from payymo.cli import payymo
from payymo.cli.tls import ListenerTls
from payymo.cli.tls_pair import MAX_FILE, Pair, PairFiles, PrivateKey, check_pair
from payymo.clock import system_clock
from payymo.errors import Misconfigured
from payymo.logs import Trace
from payymo_guard.fake_authority import CLIENT, SERVER, FakeAuthority, FakeCertificate
from tests.support.certificates import NAME, Issuer, add
from tests.support.house import Database, House
from tests.support.processes import Server, environment, log_in, servers

DAY = 86_400
PATIENCE_SECONDS = 60


class Listener:
    """The files that a listener is told of, and whom its clients trust."""

    def __init__(self, folder: Path) -> None:
        self.root = FakeAuthority(now=system_clock())
        self.between = FakeAuthority("Between", now=system_clock(), above=self.root)
        self.authority, self.certificate, self.key = (folder / f"{name}.pem" for name in ("root", "chain", "key"))
        self.authority.write_bytes(self.root.pem)
        self.shown = self.put(self.issue())

    def issue(self, **facts: Any) -> FakeCertificate:
        """A new certificate for localhost."""
        return self.between.issue("localhost", dns_names=["localhost"], usages=[SERVER], **facts)

    def put(self, issued: FakeCertificate, *, key_pem: bytes | None = None) -> FakeCertificate:
        """As ACME clients do: each file in one step, one after the other."""
        for path, content in ((self.certificate, issued.pem), (self.key, key_pem or issued.key_pem)):
            draft = path.with_suffix(".new")
            draft.write_bytes(content)
            draft.chmod(0o600)
            draft.replace(path)
        return issued

    @property
    def settings(self) -> dict[str, str]:
        return {"PAYYMO_SERVER__TLS_CERTIFICATE": str(self.certificate), "PAYYMO_SERVER__TLS_KEY": str(self.key)}


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    folder = tmp_path / "tls"
    folder.mkdir()
    return Listener(folder)


@pytest.fixture
def server(sqlite_database: Database, listener: Listener) -> Iterator[Server]:
    """A server of two workers that speaks TLS."""
    house = House(sqlite_database)
    house.user("alice")
    house.close()
    more = {**listener.settings, "PAYYMO_SERVER__WORKERS": "2"}
    with servers(sqlite_database, 1, authority=listener.authority, **more) as [started]:
        yield started


def shown_by(server: Server, listener: Listener) -> int:
    """The serial number of the certificate that a new connection is shown, with a chain that its client trusts."""
    context = ssl.create_default_context(cafile=listener.authority)
    with (
        socket.create_connection(("localhost", server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def await_all(server: Server, listener: Listener, issued: FakeCertificate) -> None:
    """Until several connections in a row are shown this one: every worker has it."""
    await_that(lambda: all(shown_by(server, listener) == issued.certificate.serial_number for _ in range(12)))


def await_that(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)  # what it is waited for needs the processor


def refusals(server: Server) -> int:
    return server.log_path.read_text().count("certificate.replaced           address=- outcome=refused")


def test_the_listener_speaks_tls(server: Server, listener: Listener) -> None:
    """With the whole chain; plain HTTP and old versions get nowhere; the issuer says https by default."""
    with server.client() as client:
        assert log_in(client)["access_token"]
    assert shown_by(server, listener) == listener.shown.certificate.serial_number
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{server.port}/health/ready")
    old = ssl.create_default_context(cafile=listener.authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("localhost", server.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


def test_a_renewal_in_mid_run_drops_nothing(server: Server, listener: Listener) -> None:
    """Two of them under load: every request is answered, and in the end every worker shows the new one.

    Half of the clients make a connection for each request, half keep theirs.
    """
    stop, failures, answered = threading.Event(), [], []

    def work(*, keeps: bool) -> None:
        kept = server.client()
        while not stop.is_set():
            try:
                client = kept if keeps else server.client()
                answered.append(client.get("/health/ready").status_code)
                if not keeps:
                    client.close()
            except httpx.HTTPError as error:
                failures.append(repr(error))
        kept.close()

    threads = [threading.Thread(target=work, kwargs={"keeps": number % 2 == 0}) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            await_all(server, listener, listener.put(listener.issue()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert set(answered) == {200}


def test_a_pair_that_can_not_be_used_changes_nothing(server: Server, listener: Listener) -> None:
    """It is said once for each, with the reason; the next good one is taken."""
    now = system_clock()
    for number, issued in enumerate(
        (listener.issue(begins=now - DAY, ends=now - 60), listener.issue(begins=now + DAY))
    ):
        listener.put(issued)
        await_that(lambda number=number: refusals(server) > number)  # type: ignore[misc]
        assert shown_by(server, listener) == listener.shown.certificate.serial_number
    listener.certificate.unlink()
    await_that(lambda: "can't be read (No such file" in server.log_path.read_text())
    await_all(server, listener, listener.put(listener.issue()))


def test_a_worker_that_was_killed_comes_back_with_the_pair_that_was_checked(server: Server, listener: Listener) -> None:
    """Whatever has become of the files."""
    listener.certificate.write_text("garbage")
    listener.key.write_text("garbage")
    before = server.pids()
    worker = next(pid for pid in before if pid != server.pid)
    os.kill(worker, signal.SIGKILL)
    await_that(lambda: worker not in server.pids() and len(server.pids()) >= len(before))
    await_all(server, listener, listener.shown)
    assert server.pid in server.pids()


def test_new_workers_that_do_not_begin_change_nothing(sqlite_database: Database, listener: Listener) -> None:
    """The old ones stay, come back when they die, and the certificate is tried again without being put again."""
    path = Path(sqlite_database.url.removeprefix("sqlite:///"))
    hidden = path.with_suffix(".hidden")
    with servers(sqlite_database, 1, authority=listener.authority, **listener.settings) as [server]:
        [worker] = set(server.pids()) - {server.pid}
        path.rename(hidden)
        issued = listener.put(listener.issue())
        await_that(lambda: "workers_did_not_begin" in server.log_path.read_text())
        await_that(lambda: set(server.pids()) == {server.pid, worker})
        assert shown_by(server, listener) == listener.shown.certificate.serial_number
        assert "outcome=success" not in server.log_path.read_text()
        path.unlink(missing_ok=True)  # an empty one that they have made
        hidden.rename(path)
        os.kill(worker, signal.SIGKILL)
        await_that(lambda: len(set(server.pids()) - {worker}) > 1)
        await_all(server, listener, issued)
        server.terminate()
        assert server.pids() == ()


def test_an_old_worker_that_dies_while_it_leaves_takes_no_new_one_along(server: Server, listener: Listener) -> None:
    """It has the number of its successor, who goes on."""
    old = set(server.pids())
    issued = listener.put(listener.issue())
    await_that(lambda: "outcome=success" in server.log_path.read_text())
    new = set(server.pids()) - old
    for worker in old - {server.pid}:
        os.kill(worker, signal.SIGKILL)
    await_that(lambda: not (set(server.pids()) & old) - {server.pid})
    await_all(server, listener, issued)
    assert set(server.pids()) == new | {server.pid}


def test_signals_in_any_number_do_not_deafen_the_server(server: Server, listener: Listener) -> None:
    """Also in the middle of a renewal: SIGTERM ends it, and everything that it has started."""
    listener.put(listener.issue())
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        os.kill(server.pid, signal.SIGHUP)
    await_that(lambda: len(server.pids()) > 3)
    server.terminate()
    assert server.pids() == ()


SIGNALS = """
import signal
from payymo.cli.listener import Attention

done = []
attention = Attention(lambda: len(done) >= 2000)

def handle(number, frame):
    done.append(number)
    attention.set()
    if len(done) < 2000:
        signal.setitimer(signal.ITIMER_REAL, 0.0001)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0001)
attention.wait()
print(len(done))
"""


def test_a_signal_in_the_middle_of_the_wait_is_answered() -> None:
    """The handler interrupts its own loop wherever it is, thousands of times.

    In a process of its own: an alarm too many would be taken for that of the test's time-out.
    """
    done = subprocess.run([sys.executable, "-c", SIGNALS], check=False, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2000\n", "")


def test_a_certificate_of_the_store_is_followed(database: Database, listener: Listener) -> None:
    """Whatever version of it is active, and nothing at all when none is: then the one from before stays in use."""
    issuer = Issuer(system_clock())
    listener.authority.write_bytes(issuer.root.pem)
    house = House(database, clock=system_clock)
    issued = [issuer.issue(names=("localhost",)) for _ in range(2)]
    for one in issued:
        add(house, issuer.material(one))
    shown = {"PAYYMO_SERVER__TLS_CERTIFICATE": f"certificate:{NAME}", "PAYYMO_SERVER__WORKERS": "2"}
    with servers(database, 1, authority=listener.authority, **shown) as [server]:
        await_all(server, listener, issued[0])
        house.services.certificates.activate(NAME, 2, trace=Trace())
        await_all(server, listener, issued[1])
        house.services.certificates.revoke(NAME, 2, trace=Trace())
        await_that(lambda: refusals(server) > 0)
        await_all(server, listener, issued[1])
        house.services.certificates.activate(NAME, 1, trace=Trace())
        await_all(server, listener, issued[0])
        assert "PRIVATE KEY" not in server.log_path.read_text()
    house.close()


def pair(certificate: FakeCertificate, key: FakeCertificate | None = None) -> Pair:
    return Pair(certificate.pem, (key or certificate).key_pem)


def test_a_server_does_not_start_with_what_its_clients_would_refuse(
    sqlite_database: Database, listener: Listener
) -> None:
    """The setting and the reason are named; the key never is shown."""
    listener.key.chmod(0o644)
    private = listener.key.read_text().splitlines()[1]
    for more, reason in (
        (listener.settings, "chmod 600"),
        ({**listener.settings, "PAYYMO_SERVER__TLS_KEY": "/nowhere"}, "/nowhere"),
        ({"PAYYMO_SERVER__TLS_KEY": str(listener.key)}, "both, or"),
        ({"PAYYMO_SERVER__TLS_CERTIFICATE": str(listener.certificate)}, "both, or"),
        ({**listener.settings, "PAYYMO_SERVER__TLS_CERTIFICATE": f"certificate:{NAME}"}, "both, or"),
        ({"PAYYMO_SERVER__TLS_CERTIFICATE": f"certificate:{NAME}"}, "payymo certificate import web"),
        ({"PAYYMO_SERVER__TLS_CERTIFICATE": "certificate:../x"}, "TLS_CERTIFICATE: '../x' can't be the name"),
        ({"PAYYMO_SERVER__TLS_CERTIFICATE": ""}, "TLS_CERTIFICATE: is empty"),
    ):
        said = refusal_of(sqlite_database, **more)
        assert reason in said
        assert private not in said
    refused = Server(sqlite_database, environment(sqlite_database, **listener.settings))
    with pytest.raises(RuntimeError, match="chmod 600"):
        refused.start()


def refusal_of(database: Database, **more: str) -> str:
    """What `payymo serve` says instead of starting."""
    at_hangup = signal.getsignal(signal.SIGHUP)
    port = str(Server(database, {}).port)
    try:
        done = CliRunner().invoke(payymo, ["serve"], env=environment(database, PAYYMO_SERVER__PORT=port, **more))
    finally:
        signal.signal(signal.SIGHUP, at_hangup)
    assert done.exit_code == 1, done.output
    return done.output


def test_the_validity_counts_to_the_second(listener: Listener) -> None:
    """RFC 5280 §4.1.2.5: from the first second to the last."""
    issued = listener.issue(begins=1000, ends=2000)
    for now, reason in ((999, "valid from"), (2000, "expired"), (2001, "expired")):
        with pytest.raises(Misconfigured, match=reason):
            check_pair(pair(issued), now)
    for now in (1000, 1001, 1999):
        check_pair(pair(issued), now)


def test_what_does_not_fit_is_refused(listener: Listener) -> None:
    """Another key, another kind of key, no certificate, no key, an encrypted one."""
    now, issued = system_clock(), listener.issue()
    other = FakeCertificate(issued.certificate, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    for wrong, reason in (
        (pair(issued, listener.issue()), "not the key"),
        (pair(issued, other), "not the key"),
        (Pair(b"", issued.key_pem), "no certificate"),
        (Pair(issued.key_pem, issued.key_pem), "no certificate"),
        (Pair(issued.pem, issued.pem), "no private key"),
        (Pair(issued.pem, b"\x00" * 40), "no private key"),
    ):
        with pytest.raises(Misconfigured, match=reason):
            check_pair(wrong, now)


def test_what_is_made_out_for_something_else_is_refused(listener: Listener) -> None:
    """A client's certificate in the place of the server's: everybody would be cut off, and the one before was good."""
    issued = listener.between.issue("localhost", dns_names=["localhost"], usages=[CLIENT])
    with pytest.raises(Misconfigured, match="not made out for a server"):
        check_pair(pair(issued), system_clock())
    for usages in ([], [CLIENT, SERVER]):
        check_pair(pair(listener.between.issue("localhost", dns_names=["localhost"], usages=usages)), system_clock())


def test_a_successor_for_other_names_is_told_of(server: Server, listener: Listener) -> None:
    """It is shown, for it may be meant: but who goes to the names that are gone refuses it."""
    both = listener.between.issue("localhost", dns_names=["localhost", "auth.example.com"], usages=[SERVER])
    await_all(server, listener, listener.put(both))
    await_all(server, listener, listener.put(listener.issue()))
    await_that(lambda: "lacks dns:auth.example.com, which the one before bore" in server.log_path.read_text())


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),  # noqa: S505
        rsa.generate_private_key(65537, 2056),
        rsa.generate_private_key(3, 2048),
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["rsa-1024", "rsa-2056", "rsa-3", "p-521", "p-256k1"],
)
def test_keys_with_which_the_runtime_does_not_start_are_refused(listener: Listener, key: PrivateKey) -> None:
    """In a sentence, rather than by a runtime that panics."""
    with pytest.raises(Misconfigured, match="use RSA with 2048, 3072 or 4096 bits"):
        check_pair(pair(listener.issue(key=key)), system_clock())


def test_a_key_of_the_wrong_kind_of_rsa_is_refused(listener: Listener) -> None:
    """RFC 8017 §8.1, RFC 4055 §1.2: a key for PSS alone."""
    issued = listener.issue(key=rsa.generate_private_key(65537, 2048))
    der = bytearray(issued.certificate.public_bytes(Encoding.DER))
    ordinary = bytes.fromhex("30820122300d06092a864886f70d0101010500")
    assert ordinary in der
    der = der.replace(ordinary, bytes.fromhex("30820120300b06092a864886f70d01010a"))
    for at in (2, 6):  # the lengths of the certificate and of what is signed
        der[at : at + 2] = (int.from_bytes(der[at : at + 2]) - 2).to_bytes(2)
    changed = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der)
    with pytest.raises(Misconfigured, match="TLS_KEY: use"):
        check_pair(Pair(changed + b"-----END CERTIFICATE-----\n", issued.key_pem), system_clock())


def test_the_server_starts_with_every_key_that_is_allowed(sqlite_database: Database, listener: Listener) -> None:
    """And with the form in which OpenSSL wrote keys of old: what the runtime reads is written anew.

    With one key the server begins; for each other one it starts workers, whose runtime begins with that one.
    """
    first, *others = (
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(65537, 3072),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    )

    def put(key: PrivateKey) -> FakeCertificate:
        issued = listener.issue(key=key)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return listener.put(issued)
        old_form = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return listener.put(issued, key_pem=b"# the key of localhost\n" + old_form)

    issued = put(first)
    with servers(sqlite_database, 1, authority=listener.authority, **listener.settings) as [server]:
        assert shown_by(server, listener) == issued.certificate.serial_number
        for key in others:
            await_all(server, listener, put(key))


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_what_is_no_file_is_named_and_never_waited_for(listener: Listener, name: str) -> None:
    """A pipe into which nobody writes, a folder, and more than any certificate needs."""
    path: Path = getattr(listener, name)
    source = PairFiles(listener.certificate, listener.key)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(Misconfigured, match=f"TLS_{name.upper()}: .*not a file"):
        source.read()
    path.unlink()
    path.mkdir()
    with pytest.raises(Misconfigured, match=f"TLS_{name.upper()}: .*not a file"):
        source.read()
    path.rmdir()
    path.write_bytes(b" " * (MAX_FILE + 1))
    with pytest.raises(Misconfigured, match=f"TLS_{name.upper()}: .*more than {MAX_FILE} bytes"):
        source.read()


def test_nothing_is_shown_before_it_is_committed(listener: Listener) -> None:
    """A candidate is tried again when it was not; one that can't be used is said once, until something changes."""
    tls = ListenerTls(PairFiles(listener.certificate, listener.key), system_clock, minimum="tls1.2")
    before = tls.context, tls.mark
    listener.put(listener.issue())
    found = tls.prepare()
    assert found is not None
    assert (tls.context, tls.mark) == before
    assert tls.prepare() is None  # the next worker that asks
    assert (tls.show(tls.show(found)), (tls.context, tls.mark)) == (found, before)
    listener.key.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        tls.prepare()
    assert tls.prepare() is None
    listener.key.chmod(0o600)
    assert tls.prepare() is not None
