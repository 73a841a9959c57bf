"""The development authority: made once, good for one's own machine, and for nothing in production."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from payymo.certificates.development import AUTHORITY_DAYS, DevelopmentAuthority
from payymo.certificates.lifecycle import Lifecycle
from payymo.certificates.making import parse_names
from payymo.certificates.model import AUTHORITY, DAY_SECONDS, CertificatePolicy
from payymo.certificates.reading import read
from payymo.certificates.rotation import CertificateRotation
from payymo.certificates.service import Certificates
from payymo.certificates.validation import load_chain
from payymo.errors import Conflict, InvalidInput, Misconfigured, NotFound
from payymo.logs import Trace
from payymo_guard.certificate_reading import CertificateRefused
from payymo_guard.certificates import TrustSet
from tests.support.certificates import NAME, Issuer, add, duties, rows, states
from tests.support.crew import Crew
from tests.support.house import START, House

NAMES = parse_names(["localhost"], ["127.0.0.1", "::1"], [])
PASSWORD = "correct-horse-battery-staple"
TRACE = Trace()


def in_production(house: House) -> tuple[Certificates, CertificateRotation, DevelopmentAuthority]:
    """The same rows, as a production service sees them."""
    services = house.services
    lifecycle = Lifecycle(services.envelope, CertificatePolicy(7 * DAY_SECONDS, 7 * DAY_SECONDS, is_production=True))
    given = (services.work, lifecycle, services.clock)
    return (
        Certificates(*given, services.audit),
        CertificateRotation(*given, services.audit),
        DevelopmentAuthority(*given, services.entropy, services.audit),
    )


def test_an_authority_is_made_once(house: House) -> None:
    """And issues what is in use at once; its own key is sealed like any other."""
    issue = house.services.development_authority.issue
    first = issue(NAME, NAMES, trace=TRACE)
    second = issue("other", NAMES, trace=TRACE)
    assert (first.state, second.state, states(house, AUTHORITY)) == ("active", "active", ["active"])
    assert first.is_development
    chains = [load_chain(found.chain_pem or "") for found in (first, second)]
    assert chains[0][1] == chains[1][1]
    assert chains[0][0].serial_number != chains[1][0].serial_number
    assert all(row.private_key is not None and row.data_key_id is not None for row in rows(house))
    again = issue(NAME, NAMES, trace=TRACE)
    assert (again.version, states(house)) == (2, ["retiring", "active"])


def test_a_name_that_is_too_long_for_a_subject(sqlite_house: House) -> None:
    """RFC 5280 §4.2.1.6: then there is no subject, and the names are critical; in a request, too."""
    names = parse_names(["a" * 60 + ".example.com"], [], [])
    assert sqlite_house.services.development_authority.issue(NAME, names, trace=TRACE).state == "active"
    assert sqlite_house.services.certificates.current(NAME, trace=TRACE) is not None
    pem = sqlite_house.services.certificates.request("other", names, trace=TRACE).request_pem
    request = x509.load_pem_x509_csr((pem or "").encode())
    assert request.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_a_server_that_nobody_could_call_gets_no_certificate(sqlite_house: House) -> None:
    """Neither from here nor from an authority that is asked: clients look for a DNS name or an address."""
    names, services = parse_names([], [], ["spiffe://example.com/payymo"]), sqlite_house.services
    for ask in (services.development_authority.issue, services.certificates.request):
        with pytest.raises(InvalidInput):
            ask(NAME, names, trace=TRACE)
        ask(NAME, names, usage="client", trace=TRACE)


def test_two_at_once_get_one_authority(house: House) -> None:
    """The lock is held before it is looked for."""
    with Crew(6) as pool:
        issued = list(
            pool.map(lambda n: house.services.development_authority.issue(f"n{n}", NAMES, trace=TRACE), range(6))
        )
    assert {found.state for found in issued} == {"active"}
    assert states(house, AUTHORITY) == ["active"]


def test_the_authority_is_made_anew_when_it_ends_too_soon(house: House) -> None:
    """What it has issued before stays; its key is destroyed."""
    issue = house.services.development_authority.issue
    issue(NAME, NAMES, trace=TRACE)
    house.clock.now = START + (AUTHORITY_DAYS - 90) * DAY_SECONDS
    issue("last", NAMES, trace=TRACE)
    assert states(house, AUTHORITY) == ["active"]
    house.clock.advance(1)
    issue("next", NAMES, trace=TRACE)
    assert states(house, AUTHORITY) == ["retired", "active"]


def test_clients_too(house: House) -> None:
    """The guard accepts them by the authority's certificate, and a server's not."""
    new = house.services.development_authority.issue("worker", NAMES, usage="client", days=1, trace=TRACE)
    leaf, authority = load_chain(new.chain_pem or "")
    trust = TrustSet(name="development", roots=[authority])
    der = leaf.public_bytes(Encoding.DER)
    assert trust.verify(der, at=START).pin == new.pin
    with pytest.raises(CertificateRefused, match="expired"):
        trust.verify(der, at=START + DAY_SECONDS + 1)
    server = load_chain(house.services.development_authority.issue(NAME, NAMES, trace=TRACE).chain_pem or "")[0]
    with pytest.raises(CertificateRefused, match="not for client"):
        trust.verify(server.public_bytes(Encoding.DER), at=START)


def test_production_neither_issues_nor_uses_nor_imports_them(house: House) -> None:
    """Whatever was made before, and also from another deployment's authority."""
    house.services.development_authority.issue(NAME, NAMES, trace=TRACE)
    house.services.development_authority.issue("staged", NAMES, trace=TRACE)
    packed = house.services.certificates.export(NAME, None, PASSWORD, trace=TRACE)
    store, rotation, authority = in_production(house)
    with pytest.raises(Conflict, match="refused in production"):
        authority.issue("another", NAMES, trace=TRACE)
    with pytest.raises(Misconfigured, match="is for development: import a real one"):
        store.current(NAME, trace=TRACE)
    with pytest.raises(Conflict, match="production does not accept"):
        store.add("another", read(packed, lambda: PASSWORD), trace=TRACE)
    house.services.development_authority.issue(NAME, NAMES, trace=TRACE)
    with pytest.raises(Misconfigured, match="is for development"):
        store.activate(NAME, 1, trace=TRACE)
    rotation.do_duties(TRACE)
    assert states(house) == ["retiring", "active"]


def test_a_real_certificate_takes_the_place_of_one_for_development_at_once(house: House) -> None:
    """Whatever names that had; and not the other way round."""
    house.services.development_authority.issue(NAME, NAMES, trace=TRACE)
    store, _, _ = in_production(house)
    assert store.add(NAME, Issuer().material(), trace=TRACE).state == "active"
    assert store.current(NAME, trace=TRACE) is not None
    with pytest.raises(Conflict, match="has a real certificate"):
        house.services.development_authority.issue(NAME, NAMES, trace=TRACE)
    duties(house)
    assert states(house) == ["retiring", "active"]


def test_the_authoritys_name_is_its_own(house: House) -> None:
    """Nobody puts a certificate there; before it is made there is none."""
    with pytest.raises(NotFound):
        house.services.certificates.get(AUTHORITY)
    with pytest.raises(InvalidInput):
        add(house, Issuer().material(), AUTHORITY)
    with pytest.raises(InvalidInput):
        house.services.development_authority.issue(AUTHORITY, NAMES, trace=TRACE)
    assert rows(house) == []
