"""Whatever a file holds: it is read, or refused in a sentence."""

import base64
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from payymo.certificates.reading import MAX_FILE_BYTES, Material, first_break, holds_a_key, read
from payymo.certificates.rounds import MAX_ROUNDS, asks_too_much
from payymo.errors import InvalidInput
from payymo_guard.fake_authority import FakeAuthority, FakeCertificate, pem_of
from tests.support.certificates import Issuer, der, never

ISSUER = Issuer()
ISSUED = ISSUER.issue()
CHAIN = (ISSUED.certificate, ISSUER.between.certificate, ISSUER.root.certificate)
PASSWORD = "open-sesame"


def sentence(data: bytes, key: bytes | None = None, password: str = PASSWORD) -> str:
    """What the refusal says."""
    with pytest.raises(InvalidInput) as caught:
        read(data, lambda: password, key=key)
    [error] = caught.value.errors
    return f"{error.pointer} {error.detail}"


def packed(issued: FakeCertificate, *others: object, password: bytes | None = PASSWORD.encode()) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"x", issued.key, issued.certificate, list(others), encryption)  # type: ignore[arg-type]


def locked_key(issued: FakeCertificate, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return issued.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(PASSWORD.encode()))


def numbers(material: Material) -> list[int]:
    return [found.serial_number for found in material.chain]


def test_pem_in_one_file_or_in_two() -> None:
    """The order of a file is kept; a key may stand anywhere in it; text around it does not matter."""
    wanted = [found.serial_number for found in CHAIN]
    text = b"".join(map(pem_of, CHAIN))
    for found in (
        read(text, never, key=ISSUED.key_pem),
        read(ISSUED.key_pem + text, never),
        read(b"Bag Attributes\n  friendlyName: x\n" + text + ISSUED.key_pem, never),
        read(text.replace(b"\n", b"\r\n"), never, key=ISSUED.key_pem.replace(b"\n", b"\r\n")),
    ):
        assert numbers(found) == wanted
        assert found.key is not None
        assert found.key.private_numbers() == ISSUED.key.private_numbers()
    assert read(text, never).key is None


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_pem_key_opens_with_its_password(form: PrivateFormat) -> None:
    """PKCS#8, and OpenSSL's older form. A wrong password is told from nothing else that is broken."""
    key = locked_key(ISSUED, form)
    assert read(ISSUED.pem, lambda: PASSWORD, key=key).key is not None
    assert "the password is wrong" in sentence(ISSUED.pem, key, "wrong")
    assert "the password is wrong" in sentence(ISSUED.pem, key, "")


def test_pkcs12_with_a_password_and_without() -> None:
    """In whichever order the program that wrote it put the chain."""
    wanted = [found.serial_number for found in CHAIN]
    assert numbers(read(packed(ISSUED, *CHAIN[1:]), lambda: PASSWORD)) == wanted
    assert numbers(read(packed(ISSUED, CHAIN[2], CHAIN[1]), lambda: PASSWORD)) == wanted
    assert numbers(read(packed(ISSUED, *CHAIN[1:], password=None), never)) == wanted
    assert "the password is wrong" in sentence(packed(ISSUED), password="wrong")


def test_pkcs12_without_a_key_has_none() -> None:
    """Whether that will do is decided by who knows the requests."""
    data = pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(found, None) for found in CHAIN], BestAvailableEncryption(PASSWORD.encode())
    )
    found = read(data, lambda: PASSWORD)
    assert (found.key, len(found.chain)) == (None, 3)


def test_what_is_wrong_with_a_file_is_said() -> None:
    """Each one in words of its own."""
    other = ISSUER.issue()
    bad = pem_of(ISSUED.certificate).replace(b"MII", b"MIJ", 1)
    request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    for data, key, words in (
        (b"", None, "neither PEM nor PKCS#12"),
        (b"\x00" * 5000, None, "neither PEM nor PKCS#12"),
        (der(ISSUED), None, "a certificate in DER"),
        (b"x" * (MAX_FILE_BYTES + 1), None, "more than 262144 bytes"),
        (ISSUED.pem, b"x" * (MAX_FILE_BYTES + 1), "more than 262144 bytes"),
        (ISSUED.pem[:-40], None, "cut off"),
        (bad, None, "certificate 1 can't be read"),
        (ISSUED.key_pem, None, "no certificate in it"),
        (ISSUED.pem + ISSUED.key_pem + other.key_pem, None, "2 private keys"),
        (ISSUED.pem + ISSUED.key_pem, ISSUED.key_pem, "leave --key out"),
        (ISSUED.pem, ISSUED.pem, "no private key in it"),
        (ISSUED.pem, b"garbage", "no whole PEM file"),
        (ISSUED.pem + request, None, "CERTIFICATE REQUEST"),
        (pem_of(ISSUED.certificate) * 11, None, "11 certificates"),
        (packed(ISSUED)[:-20], None, "it is damaged"),
        (packed(ISSUED)[:60], None, "it is damaged"),
        (packed(ISSUED, password=None) + b"\x00", None, "not in DER"),
    ):
        assert words in sentence(data, key), words


def test_a_file_can_not_keep_us_busy(tmp_path: Path) -> None:
    """Rounds of PBKDF2, scrypt and the integrity check are the sender's choice: too many are refused before the first.

    What OpenSSL and we write by default, and up to a million rounds, opens.
    """
    locked = openssl_key(tmp_path, "-iter", "1000000")
    number = b"\x02\x03" + (1_000_000).to_bytes(3)
    assert locked.count(number) == 1
    assert not asks_too_much(locked)
    patient = locked.replace(number, b"\x02\x03" + (MAX_ROUNDS + 1).to_bytes(3))
    assert asks_too_much(patient)
    label = b"ENCRYPTED PRIVATE KEY-----\n"
    assert "too long" in sentence(
        ISSUED.pem, b"-----BEGIN " + label + base64.encodebytes(patient) + b"-----END " + label
    )
    scrypt = openssl_key(tmp_path, "-scrypt", "-scrypt_N", "16384")
    assert not asks_too_much(scrypt)
    assert asks_too_much(scrypt.replace(b"\x02\x01\x08\x02\x01\x01", b"\x02\x01\x7f\x02\x01\x7f"))
    bundle = packed(ISSUED, password=None)
    assert not asks_too_much(bundle)
    assert "too long" in sentence(with_rounds(bundle))


def element(tag: int, content: bytes) -> bytes:
    """In DER (X.690 §8.1)."""
    return bytes([tag, 0x84]) + len(content).to_bytes(4) + content


def test_work_that_is_hidden_is_found(tmp_path: Path) -> None:
    """Behind bytes that libraries skip, in BER, in pieces, deeper than anybody needs; and many small parts add up."""
    million = (1_000_000).to_bytes(3)
    locked = openssl_key(tmp_path, "-iter", "1000000")
    patient = locked.replace(b"\x02\x03" + million, b"\x02\x03" + (MAX_ROUNDS + 1).to_bytes(3))
    deep = b""
    for _ in range(40):
        deep = element(0x30, deep)
    for hidden in (
        element(0x04, patient + b"\x00"),
        patient + b"\x00",
        b"\x30\x80" + patient + b"\x00\x00",
        element(0x04, b"\x30\x80" + patient + b"\x00\x00"),
        b"\x24\x80" + element(0x04, patient[:50]) + element(0x04, patient[50:]) + b"\x00\x00",
        element(0x24, element(0x04, patient[:50]) + element(0x04, patient[50:])),
        element(0x24, element(0x24, element(0x04, patient))),
        deep,
        locked * 6,
    ):
        assert asks_too_much(element(0x30, hidden)), hidden[:8]
    assert not asks_too_much(element(0x30, locked * 4))


def test_a_key_is_read_as_strictly_as_it_is_looked_at(tmp_path: Path) -> None:
    """What is no PEM to us must not be one to the library either: it would do the work that we have not seen."""
    number = b"\x02\x03" + (1_000_000).to_bytes(3)
    patient = openssl_key(tmp_path, "-iter", "1000000").replace(number, b"\x02\x03" + (MAX_ROUNDS + 1).to_bytes(3))
    text = base64.encodebytes(patient).decode()
    begin, end = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "-----END ENCRYPTED PRIVATE KEY-----\n"
    for body in (
        text.replace("\n", " \n"),
        text.replace("\n", "\t\n"),
        text.replace("\n", "\v\n"),
        "Comment: harmless\n\n" + text,
        "\n" + text,
        text.rstrip("\n"),
        text.replace("\n", ""),
        text,
    ):
        refused = sentence(ISSUED.pem, (begin + body + end).encode())
        assert "no whole PEM file" in refused or "too long" in refused


def test_what_libraries_stumble_over_is_refused() -> None:
    """Versions that there are not, moments before the calendar, looser encodings under a password."""
    leaf = der(ISSUED)
    for changed in (
        leaf.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", 1),
        re.sub(rb"\x17\x0d\d{12}Z", lambda found: b"\x18\x0f0000" + found[0][4:-1] + b"Z", leaf, count=1),
    ):
        assert changed != leaf
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(changed) + b"-----END CERTIFICATE-----\n"
        assert "certificate 1 can't be read" in sentence(pem)


def test_a_file_full_of_beginnings_is_read_in_one_pass() -> None:
    """A search for each one's end would take minutes."""
    assert "no whole PEM file" in sentence((b"-----BEGIN A-----\n" * 20_000)[:MAX_FILE_BYTES])
    assert "no whole PEM file" in sentence((b"-----BEGIN A-----\nAAAA\n" * 20_000)[:MAX_FILE_BYTES])


def openssl_key(folder: Path, *options: str) -> bytes:
    """A key that OpenSSL has encrypted, in DER."""
    plain, out = folder / "plain.pem", folder / "locked.der"
    plain.write_bytes(ISSUED.key_pem)
    words = ["openssl", "pkcs8", "-topk8", "-in", plain, "-out", out, "-outform", "DER", "-passout", "pass:x", *options]
    subprocess.run(words, check=True, capture_output=True)
    return out.read_bytes()


def with_rounds(bundle: bytes) -> bytes:
    """The same bundle with 2^31-1 rounds of the integrity check; the lengths around it grow by two."""
    check = bundle.rindex(b"\x30\x41\x30\x31\x30\x0d")
    grown = bundle[:check] + b"\x30\x43" + bundle[check + 2 : -4] + b"\x02\x04\x7f\xff\xff\xff"
    return grown[:2] + (int.from_bytes(grown[2:4]) + 2).to_bytes(2) + grown[4:]


def test_a_key_of_another_kind_is_refused() -> None:
    """DSA, and what is too large to be a key."""
    old = dsa.generate_private_key(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "make another key" in sentence(ISSUED.pem, old)
    huge = b"-----BEGIN PRIVATE KEY-----\n" + b"QUFB\n" * 5000 + b"-----END PRIVATE KEY-----\n"
    assert "more than 16384 bytes" in sentence(ISSUED.pem, huge)
    garbage = b"-----BEGIN PRIVATE KEY-----\nQUFB\n-----END PRIVATE KEY-----\n"
    assert "damaged, or of an unknown kind" in sentence(ISSUED.pem, garbage)


def test_a_file_with_a_key_is_known_as_one() -> None:
    """PEM of each form, and PKCS#12; certificates alone may lie about."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    forms = [
        rsa_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        ),
        ISSUED.key_pem,
        locked_key(ISSUED),
        packed(ISSUED),
    ]
    assert all(map(holds_a_key, forms))
    assert not holds_a_key(ISSUED.pem)


def test_a_chain_is_in_order_by_names() -> None:
    """Each one's issuer follows it."""
    assert first_break(CHAIN) is None
    assert first_break((CHAIN[0], CHAIN[2], CHAIN[1])) == 0
    assert first_break((CHAIN[0], CHAIN[1], FakeAuthority("Another", now=0).certificate)) == 1
    assert all(above.subject == below.issuer for below, above in pairwise(CHAIN))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_crashes_the_reader(data: st.DataObject) -> None:
    """Bytes changed, cut or put in anywhere, in PEM and PKCS#12: read, or refused; nothing else happens."""
    source = data.draw(st.sampled_from([ISSUED.pem + ISSUED.key_pem, SMALL_PKCS12, der(ISSUED)]))
    start = data.draw(st.integers(0, len(source)))
    length = data.draw(st.integers(0, 40))
    inserted = data.draw(st.binary(max_size=20))
    try:
        read(source[:start] + inserted + source[start + length :], lambda: PASSWORD)
    except InvalidInput:
        return


SMALL_PKCS12 = packed(ISSUED, password=None)
