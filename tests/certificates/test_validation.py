"""What is wrong with a certificate is found, and said with the remedy."""

from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID

from payymo.certificates.making import certify, parse_names, self_certified
from payymo.certificates.model import DAY_SECONDS
from payymo.certificates.reading import PrivateKey
from payymo.certificates.validation import is_for_development, is_self_signed, names_of, validate, validity_of
from payymo.errors import InvalidInput
from payymo_guard.certificate_reading import pin_of
from payymo_guard.fake_authority import CLIENT, SERVER, FakeAuthority, FakeCertificate
from tests.support.certificates import HOST, Issuer
from tests.support.house import START

NOW = int(START)
ISSUER = Issuer()
ROOT, BETWEEN = ISSUER.root.certificate, ISSUER.between.certificate


def refusal(*chain: x509.Certificate, pin: str | None = None, usage: str = "server", now: int = NOW) -> str:
    """What is said about a chain; nothing if it is accepted."""
    try:
        validate(chain, pin=pin or pin_of(chain[0].public_key()), usage=usage, now=now)  # type: ignore[arg-type]
    except InvalidInput as error:
        return error.errors[0].detail
    return ""


def issued(**more: object) -> FakeCertificate:
    return ISSUER.issue(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["p-256", "p-384", "p-521", "rsa-2048", "ed25519"],
)
def test_every_strong_kind_of_key_is_accepted(key: PrivateKey) -> None:
    """With the chain up to an authority, or up to the root."""
    leaf = issued(key=key).certificate
    assert refusal(leaf, BETWEEN) == ""
    assert refusal(leaf, BETWEEN, ROOT) == ""


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - weak on purpose
        ec.generate_private_key(ec.SECP192R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["rsa-1024", "p-192", "secp256k1"],
)
def test_a_weak_key_is_refused(key: PrivateKey) -> None:
    """Of the certificate, and of any that it depends on."""
    assert "too weak" in refusal(issued(key=key).certificate, BETWEEN)
    weak = FakeAuthority("Weak", now=START, key=key)  # type: ignore[arg-type]
    assert "certificate 2 in the file (CN=Weak) is too weak" in refusal(
        weak.issue(dns_names=[HOST], usages=[SERVER]).certificate, weak.certificate
    )


@pytest.mark.parametrize(("offset", "accepted"), [(-1, True), (0, True), (1, False)])
def test_expired_to_the_second(offset: int, *, accepted: bool) -> None:
    """The last second belongs to the validity; also of each certificate above."""
    leaf = issued(days=1).certificate
    assert (refusal(leaf, BETWEEN, now=NOW + DAY_SECONDS + offset) == "") is accepted
    above = FakeAuthority("Brief", now=START, days=1)
    long = above.issue(dns_names=[HOST], usages=[SERVER], ends=START + 9 * DAY_SECONDS).certificate
    said = refusal(long, above.certificate, now=NOW + DAY_SECONDS + offset)
    assert ("certificate 2 in the file (CN=Brief) has expired on" in said) is not accepted


def test_a_certificate_may_be_kept_before_its_time() -> None:
    """It is judged at its first moment then."""
    assert refusal(issued(begins=START + 900).certificate, BETWEEN) == ""


def test_who_was_meant_is_said() -> None:
    """Key, order, doubles, strangers in the chain, an authority's own certificate, one that comes alone."""
    leaf, other = issued().certificate, issued().certificate
    stranger = FakeAuthority("Stranger", now=START).certificate
    forged = FakeAuthority("Test authority", now=START).issue(dns_names=[HOST], usages=[SERVER]).certificate
    for said, words in (
        (refusal(leaf, BETWEEN, pin=pin_of(other.public_key())), "belongs to another certificate"),
        (
            refusal(BETWEEN, leaf, pin=pin_of(leaf.public_key())),
            "certificate 2 in the file is the one of the private key",
        ),
        (refusal(leaf, ROOT, BETWEEN), "certificate 2 in the file (CN=Test root) is not the issuer"),
        (refusal(leaf, BETWEEN, BETWEEN), "(CN=Test authority) is there twice"),
        (refusal(leaf, BETWEEN, ROOT, stranger), "certificate 4 in the file (CN=Stranger) is not the issuer"),
        (refusal(leaf), "it comes alone: put the certificate of its issuer (CN=Test authority) behind it"),
        (refusal(BETWEEN, ROOT), "of an authority: put the one that it has issued first"),
        (refusal(forged, BETWEEN), "the chain does not hold: candidates exhausted: signature does not match"),
        (refusal(leaf, other), "is not the issuer of the one before it"),
    ):
        assert words in said


@pytest.mark.parametrize("name", ["KEY_USAGE", "BASIC_CONSTRAINTS", "AUTHORITY_KEY_IDENTIFIER"])
def test_an_extension_that_is_missing_is_named_with_its_certificate(name: str) -> None:
    """OpenSSL's own defaults leave out what RFC 5280 asks for: a number, and of nobody, says not what to mend."""
    oid, leaf = getattr(ExtensionOID, name), issued().certificate
    if name == "AUTHORITY_KEY_IDENTIFIER":
        said = refusal(without(leaf, oid, ISSUER.between), BETWEEN)
        assert "certificate 1 in the file" in said
    else:
        said = refusal(leaf, without(BETWEEN, oid, ISSUER.root))
        assert "certificate 2 in the file (CN=Test authority) lacks" in said
    assert f"lacks {oid._name} " in said


def without(found: x509.Certificate, extension: x509.ObjectIdentifier, issuer: FakeAuthority) -> x509.Certificate:
    """The same certificate, but for that extension."""
    kept = [one for one in found.extensions if one.oid != extension]
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    builder = x509.CertificateBuilder(
        found.issuer, found.subject, found.public_key(), found.serial_number, begins, ends, kept
    )
    return builder.sign(issuer._key, hashes.SHA256())


def test_what_nothing_needs_is_refused() -> None:
    """Two certificates of one root with one key: either would do."""
    key = ec.generate_private_key(ec.SECP256R1())
    one, other = (FakeAuthority("Twice", now=START, key=key) for _ in range(2))
    leaf = one.issue(dns_names=[HOST], usages=[SERVER]).certificate
    assert refusal(leaf, one.certificate) == refusal(leaf, other.certificate) == ""
    assert "that nothing in it needs" in refusal(leaf, one.certificate, other.certificate)


def test_what_it_is_for_and_for_whom() -> None:
    """Server and client are told apart; no usage at all is none; a server bears a name that clients can check."""
    client = issued(usages=[CLIENT]).certificate
    both = issued(usages=[CLIENT, SERVER]).certificate
    assert (
        refusal(client, BETWEEN, usage="client")
        == refusal(both, BETWEEN)
        == refusal(both, BETWEEN, usage="client")
        == ""
    )
    assert "not made out for a server" in refusal(client, BETWEEN)
    assert "not made out for a client" in refusal(issued().certificate, BETWEEN, usage="client")
    assert "not made out for a server" in refusal(issued(usages=[]).certificate, BETWEEN)
    nameless = ISSUER.between.issue(dns_names=[], usages=[SERVER, CLIENT]).certificate
    assert "bears no name" in refusal(nameless, BETWEEN)
    uri = ISSUER.between.issue(dns_names=[], uris=["spiffe://x/y"], usages=[SERVER, CLIENT]).certificate
    assert "neither a DNS name nor an IP address" in refusal(uri, BETWEEN)
    assert refusal(uri, BETWEEN, usage="client") == ""
    assert "is no DNS name" in refusal(issued(names=(HOST, "a_b.example")).certificate, BETWEEN)
    assert refusal(issued(names=("*.example.com", HOST)).certificate, BETWEEN) == ""


def test_a_self_signed_certificate_may_come_alone() -> None:
    """Its own signature is checked then: peers pin it."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = parse_names(["auth.example.com"], [], [])
    own = certify_by_itself(key, names)
    assert is_self_signed(own)
    assert refusal(own) == ""
    assert not is_self_signed(issued().certificate)


def certify_by_itself(key: ec.EllipticCurvePrivateKey, names: Sequence[x509.GeneralName]) -> x509.Certificate:
    """Subject and issuer alike, signed by its own key."""
    drawn = certify(
        key,
        names,
        "server",
        authority=self_certified(key, serial=bytes(16), begin=NOW, end=NOW + DAY_SECONDS),
        authority_key=key,
        serial=bytes(16),
        begin=NOW,
        end=NOW + DAY_SECONDS,
    )
    builder = x509.CertificateBuilder(
        drawn.subject,
        drawn.subject,
        key.public_key(),
        drawn.serial_number,
        drawn.not_valid_before_utc,
        drawn.not_valid_after_utc,
        list(drawn.extensions),
    )
    return builder.sign(key, drawn.signature_hash_algorithm)  # type: ignore[arg-type]


def test_a_chain_is_valid_while_all_of_it_is() -> None:
    """From the last beginning to the first end."""
    above = FakeAuthority("Brief", now=START, days=1)
    leaf = above.issue(dns_names=[HOST], usages=[SERVER]).certificate
    assert validity_of((leaf, above.certificate)) == (NOW - 60, NOW + DAY_SECONDS)
    late = above.issue(dns_names=[HOST], usages=[SERVER], begins=START + 2 * DAY_SECONDS).certificate
    assert "no moment at which all of the chain is valid" in refusal(late, above.certificate)


def test_a_development_authority_is_known_by_its_name() -> None:
    """Whichever deployment's it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = self_certified(key, serial=bytes(16), begin=NOW, end=NOW + 9)
    assert is_for_development([own])
    assert not is_for_development([issued().certificate, BETWEEN])


@pytest.mark.parametrize(
    "dns", ["", "-a.example", "a b", "ü.example", "a..b", "1.2.3.4", "x" * 64, "a.*.b", "http://x"]
)
def test_a_name_that_can_not_be_one_is_refused(dns: str) -> None:
    """Before a request goes to an authority."""
    with pytest.raises(InvalidInput):
        parse_names([dns], [], [])


def test_names_are_told_apart_by_kind() -> None:
    """Small letters for DNS, as they are for the rest."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = parse_names(["Auth.Example.com", "*.example.com"], ["::1", "127.0.0.1"], ["spiffe://x/Y"])
    found = names_of(certify_by_itself(key, names))
    assert found == ("dns:auth.example.com", "dns:*.example.com", "ip:::1", "ip:127.0.0.1", "uri:spiffe://x/Y")
    for dns, ip, uri in (
        ([], ["1.2.3"], []),
        ([], ["fe80::1%eth0"], []),
        ([], [], ["no uri"]),
        ([], [], ["//x"]),
        ([], [], []),
        (["a.b"] * 101, [], []),
    ):
        with pytest.raises(InvalidInput):
            parse_names(dns, ip, uri)
