"""Client certificates: whom a trust set accepts, and for what reason it refuses everybody else."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from payymo_guard.certificate_reading import CertificateRefused
from payymo_guard.certificates import ClientCertificate, TrustSet
from payymo_guard.client_cert import read_certificate, read_chain, write_certificate
from payymo_guard.fake_authority import CLIENT, SERVER, FakeAuthority, FakeCertificate, pem_of
from payymo_guard.verify import AHEAD_SECONDS

NOW = 1_800_000_000.0
DAY = 86_400
ROOT = FakeAuthority("Bank root", now=NOW)
BETWEEN = FakeAuthority("Bank issuing", now=NOW, above=ROOT)
STRANGER = FakeAuthority("Bank root", now=NOW)
"""Bears the same name, and has another key."""


def trust(**more: Any) -> TrustSet:
    return TrustSet.from_pem("bank", ROOT.pem, **more)


def refusal(found: TrustSet, shown: FakeCertificate, *, at: float = NOW, chain: list[bytes] | None = None) -> str:
    with pytest.raises(CertificateRefused) as refused:
        found.verify(shown.der, shown.chain if chain is None else chain, at=at)
    return refused.value.code


def test_who_comes_from_a_trusted_authority_is_described() -> None:
    """Subject, names, and the two digests that others pin or bind to."""
    shown = BETWEEN.issue("pay.bank.test", dns_names=("pay.bank.test",), uris=("spiffe://bank/pay",))
    found = trust().verify(shown.der, shown.chain, at=NOW)
    assert (found.trust, found.subject) == ("bank", "CN=pay.bank.test")
    assert (found.dns_names, found.uris) == (("pay.bank.test",), ("spiffe://bank/pay",))
    digest = hashlib.sha256(shown.der).digest()
    assert found.thumbprint == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    renewed = BETWEEN.issue("pay.bank.test", key=shown.key)
    after = trust().verify(renewed.der, renewed.chain, at=NOW)
    assert (after.pin == found.pin, after.thumbprint == found.thumbprint) == (True, False)


def test_intermediates_may_be_shown_or_be_known() -> None:
    """Where TLS ends in our process, Python before 3.13 shows the certificate alone."""
    shown = BETWEEN.issue()
    assert refusal(trust(), shown, chain=[]) == "certificate_untrusted"
    assert trust(intermediates=BETWEEN.pem).verify(shown.der, at=NOW).trust == "bank"


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - what is refused
CURVE = ec.generate_private_key(ec.SECP256K1())
REFUSED: dict[str, tuple[FakeCertificate, str]] = {
    "another authority of the same name": (STRANGER.issue(), "certificate_untrusted"),
    "expired": (ROOT.issue(begins=NOW - 9 * DAY, ends=NOW - DAY), "certificate_expired"),
    "not yet valid": (ROOT.issue(begins=NOW + DAY, ends=NOW + 9 * DAY), "certificate_not_yet_valid"),
    "for servers": (ROOT.issue(usages=(SERVER,)), "certificate_usage_wrong"),
    "for anything": (ROOT.issue(usages=(x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)), "certificate_usage_wrong"),
    "for nothing that is said": (ROOT.issue(usages=()), "certificate_usage_wrong"),
    "RSA with 1024 bits": (ROOT.issue(key=WEAK), "certificate_key_weak"),
    "a curve that nobody asked for": (ROOT.issue(key=CURVE), "certificate_key_weak"),  # type: ignore[arg-type]
    "without any name": (ROOT.issue(dns_names=()), "certificate_untrusted"),
    "another authority": (FakeAuthority("x", now=NOW).issue(), "certificate_untrusted"),
}


@pytest.mark.parametrize(("shown", "code"), REFUSED.values(), ids=REFUSED)
def test_each_refusal_has_its_reason(shown: FakeCertificate, code: str) -> None:
    """A clear reason for each: chain, validity, usage, key strength."""
    assert refusal(trust(), shown) == code


def test_a_root_is_no_client_and_a_client_is_no_authority() -> None:
    """RFC 5280 §4.2.1.9."""
    root = FakeCertificate(ROOT.certificate, CURVE)
    assert refusal(trust(), root).startswith("certificate_")
    impostor = FakeAuthority("impostor", now=NOW)
    leaf = ROOT.issue("impostor", key=impostor._key)
    assert refusal(trust(), impostor.issue(), chain=[leaf.der]) == "certificate_untrusted"


@pytest.mark.parametrize("key", [WEAK, CURVE], ids=["RSA with 1024 bits", "a curve that nobody asked for"])
def test_an_authority_with_a_weak_key_is_none(key: Any) -> None:
    """The strength of every key on the path counts."""
    shown = FakeAuthority("weak", now=NOW, above=ROOT, key=key).issue()
    assert refusal(trust(), shown) == "certificate_untrusted"


BEFORE, AFTER = "certificate_not_yet_valid", "certificate_expired"


@pytest.mark.parametrize(
    ("seconds", "code"), [(-1, BEFORE), (0, None), (1, None), (3600, None), (3600.9, None), (3601, AFTER)]
)
def test_validity_is_exact_to_the_second(seconds: float, code: str | None) -> None:
    """RFC 5280 §4.1.2.5: both ends belong to it."""
    shown = ROOT.issue(begins=NOW, ends=NOW + 3600)
    if code is None:
        assert trust().verify(shown.der, at=NOW + seconds)
    else:
        assert refusal(trust(), shown, at=NOW + seconds) == code


def test_an_expired_authority_is_told_as_such() -> None:
    """Not as a stranger's: what is to be done is another thing."""
    short = FakeAuthority("short", now=NOW, above=ROOT, days=1)
    shown = short.issue()
    assert refusal(trust(), shown, at=NOW + 2 * DAY) == "certificate_expired"


def test_a_name_has_to_be_one_of_those_expected() -> None:
    """DNS names and URIs, whole; a subject, or a part of a name, is none."""
    expected = trust(names=("pay.bank.test", "spiffe://bank/pay"))
    for names in ({"dns_names": ("pay.bank.test",)}, {"dns_names": (), "uris": ("spiffe://bank/pay",)}):
        assert expected.verify(ROOT.issue(**names).der, at=NOW)  # type: ignore[arg-type]
    for name in ("bank.test", "x.pay.bank.test", "pay.bank.test.evil.test", "*.bank.test"):
        assert refusal(expected, ROOT.issue("pay.bank.test", dns_names=(name,))) == "certificate_name_wrong"
    assert refusal(expected, ROOT.issue(dns_names=("spiffe.test",), uris=("spiffe://bank/pay/x",))) == (
        "certificate_name_wrong"
    )


def test_a_name_counts_as_what_it_is() -> None:
    """A URI that looks like a DNS name is none: an authority may be bound to names of one kind, and free in others."""
    expected = trust(names=("pay.bank.test", "spiffe://bank/pay"))
    assert refusal(expected, ROOT.issue(dns_names=(), uris=("pay.bank.test",))) == "certificate_name_wrong"
    assert trust(names="pay.bank.test").verify(ROOT.issue(dns_names=("pay.bank.test",)).der, at=NOW)
    assert refusal(trust(names="pay.bank.test"), ROOT.issue(dns_names=("t",))) == "certificate_name_wrong"


def test_capitals_of_a_dns_name_mean_nothing() -> None:
    """RFC 5280 §7.2: a sender whose authority writes them is no stranger. Of a URI they may mean something."""
    for expected, borne in (("pay.bank.test", "Pay.Bank.test"), ("PAY.bank.test", "pay.bank.test")):
        assert trust(names=expected).verify(ROOT.issue(dns_names=(borne,)).der, at=NOW)
    uris = ROOT.issue(dns_names=(), uris=("spiffe://bank/Pay",))
    assert refusal(trust(names="spiffe://bank/pay"), uris) == "certificate_name_wrong"


def test_a_root_is_nobodys_client() -> None:
    """A certificate that stands among the roots would come in unasked: nobody could revoke it."""
    own = FakeAuthority("own", now=NOW).issue()
    assert refusal(TrustSet(name="bank", roots=[own.certificate]), own) == "certificate_untrusted"


def test_a_pin_holds_the_key_and_not_the_certificate() -> None:
    """Renewed with the same key: accepted. Two pins: keys change without a pause."""
    old, new = ROOT.issue(), ROOT.issue()
    pins = [trust().verify(shown.der, at=NOW).pin for shown in (old, new)]
    assert trust(pins=pins[:1]).verify(ROOT.issue(key=old.key).der, at=NOW)
    assert refusal(trust(pins=pins[:1]), new) == "certificate_pin_wrong"
    for shown in (old, new):
        assert trust(pins=pins).verify(shown.der, at=NOW)


# ── revocation ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_revoked_certificate_is_refused_and_its_neighbour_is_not() -> None:
    """RFC 5280 §6.3."""
    bad, good = ROOT.issue(), ROOT.issue()
    lists = trust(revocation_lists=[ROOT.revocation_list([bad])])
    assert refusal(lists, bad) == "certificate_revoked"
    assert lists.verify(good.der, at=NOW)


def test_a_revoked_authority_takes_its_clients_along() -> None:
    """Every certificate below the root is asked about, by the list of its own issuer."""
    shown = BETWEEN.issue()
    between = FakeCertificate(BETWEEN.certificate, shown.key)
    clean, whole = BETWEEN.revocation_list(), ROOT.revocation_list([between])
    assert refusal(trust(revocation_lists=[clean, whole]), shown) == "certificate_revoked"
    assert trust(revocation_lists=[clean, ROOT.revocation_list()]).verify(shown.der, shown.chain, at=NOW)


def edited(**changes: Any) -> bytes:
    """A list of the root's with something about it that makes it another one."""
    if "extension" in changes:
        builder = x509.CertificateRevocationListBuilder(
            ROOT.certificate.subject, ROOT.certificate.not_valid_before_utc, ROOT.certificate.not_valid_after_utc
        ).add_extension(changes["extension"], critical=changes.get("critical", True))
        signed = builder.sign(ROOT._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)
    return ROOT.revocation_list(**changes)


ONLY_AUTHORITIES = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=False,
    only_contains_ca_certs=True,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)
UNKNOWN: dict[str, list[bytes]] = {
    "no list": [],
    "out of date": [edited(begins=NOW - 9 * DAY, ends=NOW - 1)],
    "ends this second": [edited(begins=NOW - 9 * DAY, ends=NOW)],
    "from tomorrow": [edited(begins=NOW + DAY, ends=NOW + 2 * DAY)],
    "another authority's": [BETWEEN.revocation_list()],
    "another authority's of the same name": [STRANGER.revocation_list()],
    "of the changes alone": [edited(extension=x509.DeltaCRLIndicator(1))],
    "of the changes, said quietly": [edited(extension=x509.DeltaCRLIndicator(1), critical=False)],
    "of authorities alone, said quietly": [edited(extension=ONLY_AUTHORITIES, critical=False)],
}


@pytest.mark.parametrize("lists", UNKNOWN.values(), ids=UNKNOWN)
def test_what_can_not_be_told_unrevoked_is_refused(lists: list[bytes]) -> None:
    """Fail closed: whoever keeps the list away must not win by it."""
    asked = trust(revocation_lists=lists, revocation_required=True)
    assert refusal(asked, ROOT.issue()) == "revocation_unknown"


def test_a_list_of_this_moment_tells_from_the_beginning() -> None:
    """Its issuer's clock may be a little ahead: nobody is kept out for that, and whoever it names is not let in."""
    bad, good = ROOT.issue(), ROOT.issue()
    for begins in (NOW, NOW + AHEAD_SECONDS):
        asked = trust(revocation_lists=[ROOT.revocation_list([bad], begins=begins)])
        assert asked.verify(good.der, at=NOW)
        assert refusal(asked, bad) == "certificate_revoked"
    early = trust(revocation_lists=[ROOT.revocation_list([bad], begins=NOW + AHEAD_SECONDS + 1)])
    assert refusal(early, good) == "revocation_unknown"


def test_a_revoked_certificate_stays_so_beside_a_newer_list_that_is_out_of_date() -> None:
    """One valid list is enough to refuse."""
    bad = ROOT.issue()
    lists = [ROOT.revocation_list([bad]), ROOT.revocation_list(begins=NOW - 9 * DAY, ends=NOW - DAY)]
    assert refusal(trust(revocation_lists=lists), bad) == "certificate_revoked"


# ── input ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=200))
def test_garbage_is_malformed(data: bytes) -> None:
    """Never another exception: any surprise is a refusal."""
    with pytest.raises(CertificateRefused):
        trust().verify(data, at=NOW)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_octet_is_refused(position: int, change: int) -> None:
    """By the parser, by the signature, or by what it says now; never by an exception of the library's."""
    shown = bytearray(SHOWN.der)
    shown[position % len(shown)] ^= change
    with pytest.raises(CertificateRefused):
        trust().verify(bytes(shown), at=NOW)


SHOWN = ROOT.issue()


def test_others_in_the_chain_may_be_anything_and_change_nothing() -> None:
    """They only help to find the way; garbage among them is refused, strangers are ignored."""
    assert trust().verify(SHOWN.der, [STRANGER.issue().der, pem_der(STRANGER)], at=NOW)
    with pytest.raises(CertificateRefused):
        trust().verify(SHOWN.der, [b"garbage"], at=NOW)
    with pytest.raises(CertificateRefused):
        trust().verify(SHOWN.der + b"x" * 20_000, at=NOW)


def pem_der(authority: FakeAuthority) -> bytes:
    return FakeCertificate(authority.certificate, CURVE).der  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"names": ()}, {"pins": ("x",)}, {"pins": (base64.b64encode(b"short").decode(),)}], ids=str
)
def test_a_trust_set_that_can_not_be_meant_is_refused_when_it_is_made(change: dict[str, Any]) -> None:
    """Not at the first request."""
    with pytest.raises(ValueError, match="trust set 'bank'"):
        trust(**change)
    with pytest.raises(ValueError, match="no root"):
        TrustSet(name="bank", roots=())


def test_what_is_accepted_shows_no_key() -> None:
    """A description can be logged."""
    found = trust().verify(SHOWN.der, at=NOW)
    assert isinstance(found, ClientCertificate)
    assert "PRIVATE" not in repr(found) + repr(trust()) + repr(SHOWN)
    assert SHOWN.key_pem not in repr(SHOWN).encode()


# ── RFC 9440 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_certificate_travels_through_its_header() -> None:
    """RFC 9440 §2.2, §2.3."""
    assert read_certificate(write_certificate(SHOWN.der)) == SHOWN.der
    shown = BETWEEN.issue()
    assert read_chain(", ".join(write_certificate(der) for der in [shown.der, *shown.chain])) == [
        shown.der,
        *shown.chain,
    ]


NO_ITEM = {
    text: text
    for text in ("", ":", "::x", ":AAAA", "AAAA", ":A:", ":AAA:", ":AA=A:", ":AAAA:;a=1", ":AAAA:, :AAAA:", ":A-_A:")
} | {"newline": ":AAAA:\n", "PEM": pem_of(ROOT.certificate).decode(), "large": ":" + "A" * 200_000 + ":"}


@pytest.mark.parametrize("value", NO_ITEM.values(), ids=NO_ITEM)
def test_a_header_that_is_not_one_byte_sequence_is_malformed(value: str) -> None:
    """Also two of them: a proxy that appends to what a client sent would let the client choose."""
    with pytest.raises(CertificateRefused) as refused:
        read_certificate(value)
    assert refused.value.code == "certificate_malformed"


@pytest.mark.parametrize("value", ["", ",", ":AAAA:,", "AAAA", ":AAAA: :AAAA:", ":AAA:"])
def test_a_chain_that_is_no_list_is_malformed(value: str) -> None:
    """RFC 9651 §4.2.1."""
    with pytest.raises(CertificateRefused):
        read_chain(value)


def test_usages_are_told_apart() -> None:
    """A certificate for both is for clients, too."""
    assert trust().verify(ROOT.issue(usages=(CLIENT, SERVER)).der, at=NOW)
