"""`payymo certificate` as an operator uses it: by files, by request, with OpenSSL beside it."""

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12

from payymo.clock import system_clock
from payymo_guard.fake_authority import FakeCertificate, pem_of
from tests.cli.test_commands import Shell
from tests.support.certificates import HOST, Issuer
from tests.support.house import Database

PASSWORD = "correct-horse-battery-staple"


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


@pytest.fixture
def sqlite_shell(sqlite_database: Database) -> Shell:
    return Shell(sqlite_database)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(system_clock())


def put(folder: Path, name: str, content: bytes, mode: int = 0o600) -> str:
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def pair(folder: Path, issued: FakeCertificate, name: str = "a") -> tuple[str, str, str]:
    """What `import` takes: the chain, and the key in a file of its own."""
    chain = put(folder, f"{name}.pem", issued.pem, 0o644)
    return chain, "--key", put(folder, f"{name}.key", issued.key_pem)


def state_of(shell: Shell) -> list[tuple[Any, ...]]:
    return [(row["name"], row["version"], row["state"]) for row in shell.json("certificate", "list")]


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True).stdout


def test_the_files_of_an_acme_client_and_its_renewal(shell: Shell, issuer: Issuer, tmp_path: Path) -> None:
    """First in use at once, then next, then activated; what is public is shown, as OpenSSL sees it."""
    first, second = issuer.issue(days=60), issuer.issue(days=90)
    assert shell.json("certificate", "import", "web", *pair(tmp_path, first))["state"] == "active"
    assert shell.json("certificate", "import", "web", *pair(tmp_path, second, "b"))["state"] == "next"
    facts = shell.json("certificate", "show", "web")
    pem = tmp_path / "a.pem"
    assert facts["pin"] in openssl_pin(pem)
    assert int(facts["serial_number"], 16) == first.certificate.serial_number
    assert facts["serial_number"].upper() in openssl("x509", "-in", pem, "-noout", "-serial").replace("=0", "=")
    assert (facts["subject"], facts["issuer"]) == (f"CN={HOST}", "CN=Test authority")
    assert (facts["names"], facts["has_private_key"]) == ([f"dns:{HOST}"], True)
    assert shell.run("certificate", "chain", "web").stdout.encode() == first.pem
    accepted = shell.run("certificate", "chain", "web", "--accepted").stdout.encode()
    assert accepted == first.pem + second.pem
    assert shell.run("certificate", "activate", "web", "2", stdin="n\n").exit_code == 1
    assert shell.json("certificate", "activate", "web", "2", "--yes") == {"name": "web", "active": 2}
    assert state_of(shell) == [("web", 1, "retiring"), ("web", 2, "active")]
    assert shell.run("certificate", "retire", "web", "1", stdin="n\n").exit_code == 1
    assert shell.json("certificate", "retire", "web", "1", "--yes")["retired"] == 1
    assert shell.json("certificate", "show", "web", "1")["has_private_key"] is False
    assert shell.json("certificate", "revoke", "web", "2", "--yes")["active"] is None
    assert state_of(shell) == [("web", 1, "retired"), ("web", 2, "revoked")]


def openssl_pin(pem: Path) -> str:
    """The pin as the runbook for peers computes it."""
    public = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-pubkey"], check=True, capture_output=True)
    turned = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.stdout, check=True, capture_output=True
    )
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-binary"], input=turned.stdout, check=True, capture_output=True
    )
    return subprocess.run(["base64"], input=digest.stdout, check=True, capture_output=True).stdout.decode()


@pytest.mark.parametrize("algorithm", ["p-256", "rsa-3072", "ed25519"])
def test_a_request_is_certified_by_openssl(sqlite_shell: Shell, tmp_path: Path, algorithm: str) -> None:
    """The request verifies, an authority made with OpenSSL certifies it, and it is imported without a key."""
    names = ("--dns", HOST, "--ip", "127.0.0.1", "--uri", "spiffe://example.com/payymo")
    done = sqlite_shell.run("certificate", "request", "web", *names, "--algorithm", algorithm)
    request = tmp_path / "web.csr"
    request.write_text(done.stdout)
    shown = openssl("req", "-in", request, "-noout", "-text", "-verify")
    for name in (f"DNS:{HOST}", "IP Address:127.0.0.1", "URI:spiffe://example.com/payymo", "Web Server Authentication"):
        assert name in shown
    assert sqlite_shell.run("certificate", "chain", "web", "1").stdout == done.stdout
    root, key, out = tmp_path / "root.pem", tmp_path / "root.key", tmp_path / "web.pem"
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    made = ("-nodes", "-keyout", key, "-out", root, "-subj", "/CN=R", "-addext", usage)
    openssl("req", "-x509", "-newkey", "rsa:2048", *made)
    signer = ("-CA", root, "-CAkey", key, "-days", "9", "-copy_extensions", "copy", "-out", out)
    openssl("x509", "-req", "-in", request, *signer)
    alone = sqlite_shell.run("certificate", "import", "web", str(out))
    assert (alone.exit_code, "it comes alone" in alone.stderr) == (1, True)
    chain = put(tmp_path, "full.pem", out.read_bytes() + root.read_bytes(), 0o644)
    assert sqlite_shell.json("certificate", "import", "web", chain)["state"] == "active"
    [row] = sqlite_shell.json("certificate", "list")
    assert row["days_left"] in {8, 9}  # the second in which it was made may be over
    assert row["warning"] == "expires within 30 days, no successor"


def test_a_backup_is_encrypted_and_comes_back(shell: Shell, issuer: Issuer, tmp_path: Path) -> None:
    """For its owner alone, never over another file, with a password from standard input; imported again elsewhere."""
    shell.json("certificate", "import", "web", *pair(tmp_path, issuer.issue()))
    file = tmp_path / "backup.p12"
    asked = shell.run("certificate", "export", "web", str(file))
    assert (asked.exit_code, "--password-stdin" in asked.stderr) == (1, True)
    short = shell.run("certificate", "export", "web", str(file), "--password-stdin", stdin="too short\n")
    assert (short.exit_code, "at least 20 characters" in short.stderr, file.exists()) == (1, True, False)
    done = shell.run("certificate", "export", "web", str(file), "--password-stdin", stdin=f"{PASSWORD}\n")
    assert done.exit_code == 0
    assert PASSWORD not in done.output + done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    again = shell.run("certificate", "export", "web", str(file), "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (again.exit_code, "is there already" in again.stderr, file.read_bytes() == before) == (1, True, True)
    nowhere = shell.run("certificate", "export", "web", "/nowhere/x", "--password-stdin", stdin=PASSWORD)
    assert (nowhere.exit_code, "nothing can be written there" in nowhere.stderr) == (1, True)
    back = shell.json("certificate", "import", "restored", str(file), "--password-stdin", stdin=f"{PASSWORD}\n")
    assert back["state"] == "active"
    wrong = shell.run("certificate", "import", "other", str(file), "--password-stdin", stdin="wrong\n")
    assert (wrong.exit_code, "the password is wrong" in wrong.stderr) == (1, True)
    assert sum(event["event"] == "certificate.exported" for event in events(done.stderr)) == 1


def events(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def test_files_with_keys_that_others_could_read_are_refused(
    sqlite_shell: Shell, issuer: Issuer, tmp_path: Path
) -> None:
    """With the remedy: a key of its own, a key in the same file, PKCS#12. A certificate alone may be read by all."""
    issued = issuer.issue()
    chain, _, key = pair(tmp_path, issued)
    packed = pkcs12.serialize_key_and_certificates(
        b"x", issued.key, issued.certificate, [issuer.between.certificate], BestAvailableEncryption(PASSWORD.encode())
    )
    together = put(tmp_path, "both.pem", issued.pem + issued.key_pem, 0o644)
    bundle = put(tmp_path, "x.p12", packed, 0o640)
    Path(key).chmod(0o604)
    for words in ((chain, "--key", key), (together,), (bundle, "--password-stdin")):
        done = sqlite_shell.run("certificate", "import", "web", *words, stdin=PASSWORD)
        secret = next(word for word in words[::-1] if word.startswith("/"))
        assert (done.exit_code, f"chmod 600 {secret}" in done.stderr) == (1, True)
    for path in (key, together, bundle):
        Path(path).chmod(0o600)
    for name, words in (("a", (chain, "--key", key)), ("b", (together,)), ("c", (bundle, "--password-stdin"))):
        assert sqlite_shell.json("certificate", "import", name, *words, stdin=PASSWORD)["state"] == "active"


def test_an_encrypted_key_of_its_own(sqlite_shell: Shell, issuer: Issuer, tmp_path: Path) -> None:
    """Opens with the password from standard input."""
    issued = issuer.issue()
    locked = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    words = (put(tmp_path, "a.pem", issued.pem), "--key", put(tmp_path, "a.key", locked))
    done = sqlite_shell.run("certificate", "import", "web", *words)
    assert (done.exit_code, "--password-stdin" in done.stderr) == (1, True)
    assert sqlite_shell.json("certificate", "import", "web", *words, "--password-stdin", stdin="x\n")["version"] == 1


def test_whatever_is_handed_in_is_answered_with_a_sentence(sqlite_shell: Shell, issuer: Issuer, tmp_path: Path) -> None:
    """Exit code 1, one line on standard error, nothing on standard output, and nothing kept."""
    issued = issuer.issue()
    chain, _, key = pair(tmp_path, issued)
    reversed_chain = put(tmp_path, "r.pem", pem_of(issuer.between.certificate) + pem_of(issued.certificate))
    broken = {
        "empty": b"",
        "garbage": os.urandom(3000),
        "text": b"hello",
        "huge": b"x" * 300_000,
        "cut": issued.pem[:-60],
        "nul": b"\x00" * 100,
        "two keys": issued.pem + issued.key_pem + issuer.issue().key_pem,
        "der": issued.certificate.public_bytes(Encoding.DER),
        "no certificate": issued.key_pem,
        "no key": issued.pem,
    }
    for name, content in broken.items():
        assert_refused(sqlite_shell, "import", "web", put(tmp_path, name, content))
    for words in (
        ("import", "web", reversed_chain, "--key", key),
        ("import", "web", chain, "--key", put(tmp_path, "other.key", issuer.issue().key_pem)),
        ("import", "web", chain, "--key", chain),
        ("import", "web", chain, "--key", key, "--activate-at", "tomorrow"),
        ("import", "web", chain, "--key", key, "--activate-at", "2030-01-01T00:00:00"),
        ("import", "web", chain, "--key", key, "--activate-at", "1999-01-01T00:00:00Z"),
        ("import", "web", chain, "--key", key, "--client"),
        ("import", "../x", chain, "--key", key),
        ("import", "development-authority", chain, "--key", key),
        ("import", "web", str(tmp_path / "nothing")),
        ("import", "web", str(tmp_path)),
        ("show", "nothing"),
        ("show", "nothing", "7"),
        ("chain", "nothing"),
        ("activate", "nothing", "1", "--yes"),
        ("retire", "nothing", "1", "--yes"),
        ("revoke", "nothing", "1", "--yes"),
        ("request", "web"),
        ("request", "web", "--dns", "not a name"),
        ("request", "web", "--ip", "1.2.3"),
        ("request", "web", "--uri", "nothing"),
        ("issue-development", "web"),
    ):
        assert_refused(sqlite_shell, *words)
    assert sqlite_shell.json("certificate", "list") == []


def assert_refused(shell: Shell, *words: str) -> None:
    done = shell.run("certificate", *words, stdin=PASSWORD)
    assert (done.exit_code, done.stdout) == (1, ""), words
    assert done.stderr.startswith("payymo: "), words
    assert len(done.stderr.splitlines()) == 1, words
    assert "Traceback" not in done.stderr
    assert "PRIVATE KEY" not in done.stderr


def test_the_calendar_from_the_command_line(sqlite_shell: Shell, issuer: Issuer, tmp_path: Path) -> None:
    """A moment with its zone, as it is shown afterwards."""
    sqlite_shell.json("certificate", "import", "web", *pair(tmp_path, issuer.issue(days=60)))
    second = pair(tmp_path, issuer.issue(days=90), "b")
    wrong = sqlite_shell.run("certificate", "import", "web", *second, "--activate-at", "2200-01-01T00:00:00Z")
    assert (wrong.exit_code, "name a moment in between" in wrong.stderr) == (1, True)
    moment = sqlite_shell.json("certificate", "show", "web")["not_after"]
    new = sqlite_shell.json("certificate", "import", "web", *second, "--activate-at", moment)
    assert (new["state"], new["activates_at"]) == ("next", moment)
    assert sqlite_shell.json("certificate", "list")[1]["changes_at"] == moment


def test_a_certificate_for_development(shell: Shell, tmp_path: Path) -> None:
    """In one command; OpenSSL verifies it against the authority's, and production refuses."""
    new = shell.json("certificate", "issue-development", "local", "--dns", "localhost", "--ip", "127.0.0.1")
    assert new["state"] == "active"
    authority, chain = tmp_path / "authority.pem", tmp_path / "chain.pem"
    authority.write_text(shell.run("certificate", "chain", "development-authority").stdout)
    chain.write_text(shell.run("certificate", "chain", "local").stdout)
    openssl("verify", "-x509_strict", "-CAfile", authority, "-verify_hostname", "localhost", chain)
    assert shell.json("certificate", "show", "local")["is_development"] is True
    client = shell.json("certificate", "issue-development", "worker", "--dns", "worker", "--client", "--days", "1")
    assert client["version"] == 1
    assert [row["usage"] for row in shell.json("certificate", "list")] == ["authority", "server", "client"]
    shell.environment |= {
        "PAYYMO_ENV": "production",
        "PAYYMO_ISSUER": "https://auth.example.com",
        "PAYYMO_DATABASE__OWNER_URL": None,
    }
    refused = shell.run("certificate", "issue-development", "more", "--dns", "localhost")
    assert (refused.exit_code, "refused in production: use payymo certificate request" in refused.stderr) == (1, True)


def test_tables_show_whole_values(sqlite_shell: Shell) -> None:
    """Identifiers that are cut off are of no use, however narrow the terminal is."""
    sqlite_shell.json("certificate", "issue-development", "local", "--dns", "localhost")
    assert "development-authority" in sqlite_shell.run("certificate", "list").stdout
    assert (
        sqlite_shell.json("certificate", "show", "local")["pin"]
        in sqlite_shell.run("certificate", "show", "local").stdout
    )
    [kid, *_] = [row["kid"] for row in sqlite_shell.json("key", "list")]
    assert kid in sqlite_shell.run("key", "list").stdout
