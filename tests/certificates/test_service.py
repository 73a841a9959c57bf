"""The life of a certificate: imported, requested, active, succeeded, retired, revoked; and never twice the same."""

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from payymo.certificates.making import ALGORITHMS, Algorithm, parse_names
from payymo.certificates.model import AUTHORITY, DAY_SECONDS
from payymo.certificates.reading import Material, read
from payymo.db.schema import certificates, service_data_keys
from payymo.errors import Conflict, InvalidInput, Misconfigured, NotFound
from payymo.logs import Trace
from payymo_guard.certificate_reading import pin_of
from payymo_guard.fake_authority import CLIENT, SERVER, FakeCertificate
from tests.support.certificates import HOST, NAME, Issuer, add, duties, never, rows, states, told
from tests.support.house import MASTER_KEY, START, House

ISSUER = Issuer()
NAMES = parse_names([HOST], [], [])
PASSWORD = "correct-horse-battery-staple"
TRACE = Trace()


def certified(house: House, version: int = 1, *, names: list[x509.GeneralName] | None = None) -> FakeCertificate:
    """What an authority makes of a request. The key is not in it: nobody has it."""
    pem = house.services.certificates.get(NAME, version).request_pem
    assert pem is not None
    request = x509.load_pem_x509_csr(pem.encode())
    stand_in = ec.generate_private_key(ec.SECP256R1())
    issued = ISSUER.issue(key=stand_in)
    builder = x509.CertificateBuilder(
        issued.certificate.issuer,
        request.subject,
        request.public_key(),
        issued.certificate.serial_number,
        issued.certificate.not_valid_before_utc,
        issued.certificate.not_valid_after_utc,
        [
            extension
            for extension in issued.certificate.extensions
            if names is None or not isinstance(extension.value, x509.SubjectAlternativeName)
        ],
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(ISSUER.between._key, issued.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    return replace(issued, certificate=signed)


def test_the_first_certificate_is_in_use_at_once(house: House) -> None:
    """And gives a listener its chain and its key."""
    issued = ISSUER.issue()
    assert house.services.certificates.active_version(NAME) is None
    assert house.services.certificates.current(NAME, trace=TRACE) is None
    new = add(house, ISSUER.material(issued))
    assert (new.version, new.state, states(house)) == (1, "active", ["active"])
    assert house.services.certificates.active_version(NAME) == 1
    found = house.services.certificates.current(NAME, trace=TRACE)
    assert found is not None
    assert (found.version, found.is_development, found.chain_pem) == (1, False, issued.pem)
    assert found.not_after == int(START) + 90 * DAY_SECONDS
    key = load_pem_private_key(found.private_key_pem, None)
    assert pin_of(key.public_key()) == new.pin  # type: ignore[arg-type]
    assert [event["event"] for event in house.events()] == [
        "certificate.imported",
        "certificate.activated",
        "certificate.used",
    ]
    assert {event["certificate"] for event in house.events()} == {NAME}


def test_a_root_is_kept_and_not_presented(sqlite_house: House) -> None:
    """Whoever trusts it has it."""
    issued = ISSUER.issue()
    add(sqlite_house, read(issued.pem + ISSUER.root.pem, never, key=issued.key_pem))
    found = sqlite_house.services.certificates.current(NAME, trace=TRACE)
    assert found is not None
    assert found.chain_pem == issued.pem
    assert sqlite_house.services.certificates.get(NAME).chain_pem == (issued.pem + ISSUER.root.pem).decode()


def test_a_successor_takes_over_by_the_calendar_with_an_overlap(house: House) -> None:
    """At t-1, t, t+1: take-over a week before the end, end of the overlap, destruction of the private half."""
    add(house, ISSUER.material(days=30))
    assert add(house, ISSUER.material(days=120)).activates_at == START + 23 * DAY_SECONDS
    house.clock.now = START + 23 * DAY_SECONDS - 1
    duties(house)
    assert states(house) == ["active", "next"]
    house.clock.advance(1)
    duties(house)
    assert states(house) == ["retiring", "active"]
    assert house.services.certificates.active_version(NAME) == 2
    assert [found.version for found in house.services.certificates.list_accepted(NAME)] == [1, 2]
    assert house.services.certificates.get(NAME, 1).retires_at == START + 30 * DAY_SECONDS
    house.clock.now = START + 30 * DAY_SECONDS - 1
    duties(house)
    assert states(house) == ["retiring", "active"]
    house.clock.advance(1)
    duties(house)
    assert states(house) == ["retired", "active"]
    first, second = rows(house)
    assert (first.private_key, first.data_key_id) == (None, None)
    assert first.chain_pem is not None
    assert second.private_key is not None
    assert told(house, "certificate.retired") == [("1", "calendar")]
    assert told(house, "certificate.activated") == [("1", "import"), ("2", "calendar")]


def test_the_overlap_has_an_end_of_its_own(house: House) -> None:
    """When the one before lives longer than that."""
    add(house, ISSUER.material(days=90))
    add(house, ISSUER.material(days=120))
    house.services.certificates.activate(NAME, 2, trace=TRACE)
    assert house.services.certificates.get(NAME, 1).retires_at == START + 7 * DAY_SECONDS
    for offset, wanted in ((-1, "retiring"), (0, "retired"), (1, "retired")):
        house.clock.now = START + 7 * DAY_SECONDS + offset
        duties(house)
        assert states(house) == [wanted, "active"]


def test_the_overlap_ends_when_the_certificate_does(house: House) -> None:
    """And it is said so from the beginning."""
    add(house, ISSUER.material(days=3))
    assert add(house, ISSUER.material(days=90)).state == "active"
    assert house.services.certificates.get(NAME, 1).retires_at == START + 3 * DAY_SECONDS


def test_the_operator_says_when(house: House) -> None:
    """Within the validity of the new one, and before the old one is over."""
    add(house, ISSUER.material(days=30))
    material = ISSUER.material(days=120, begins=START + 900)
    for wrong in (START + 899, START + 900 + 120 * DAY_SECONDS + 1, START + 30 * DAY_SECONDS + 1):
        with pytest.raises(InvalidInput):
            add(house, material, activates_at=int(wrong))
    assert states(house) == ["active"]
    add(house, material, activates_at=int(START) + 1000)
    with pytest.raises(Conflict, match="not valid before"):
        house.services.certificates.activate(NAME, 2, trace=TRACE)
    for offset, wanted in ((-1, ["active", "next"]), (0, ["retiring", "active"]), (1, ["retiring", "active"])):
        house.clock.now = START + 1000 + offset
        duties(house)
        assert states(house) == wanted


def test_a_first_certificate_waits_for_its_time(house: House) -> None:
    """Until then the name has none."""
    add(house, ISSUER.material(begins=START + 60))
    for offset, wanted in ((-1, None), (0, 1), (1, 1)):
        house.clock.now = START + 60 + offset
        duties(house)
        assert house.services.certificates.active_version(NAME) == wanted


def test_who_renews_too_late_is_served_at_once(house: House) -> None:
    """The active one has expired: the successor does not wait, and the old one ends with it."""
    add(house, ISSUER.material(days=1))
    house.clock.advance(DAY_SECONDS + 1)
    assert add(house, ISSUER.material(days=90)).state == "active"
    duties(house)
    assert states(house) == ["retired", "active"]


def test_back_to_the_one_before(house: House) -> None:
    """As long as the overlap lasts, a version that does not work is taken back."""
    add(house, ISSUER.material())
    add(house, ISSUER.material())
    house.services.certificates.activate(NAME, 2, trace=TRACE)
    house.services.certificates.activate(NAME, 1, trace=TRACE)
    assert states(house) == ["active", "retiring"]
    house.clock.advance(7 * DAY_SECONDS)
    duties(house)
    assert states(house) == ["active", "retired"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_is_answered_by_its_certificate(house: House, algorithm: Algorithm) -> None:
    """The key never left: what was certified is known by its public key."""
    new = house.services.certificates.request(NAME, NAMES, algorithm=algorithm, trace=TRACE)
    assert (new.version, states(house)) == (1, ["requested"])
    assert new.request_pem is not None
    request = x509.load_pem_x509_csr(new.request_pem.encode())
    assert request.is_signature_valid
    answered = add(house, read(certified(house).pem, never))
    assert (answered.version, states(house)) == (1, ["active"])
    found = house.services.certificates.current(NAME, trace=TRACE)
    assert found is not None
    assert pin_of(load_pem_private_key(found.private_key_pem, None).public_key()) == new.pin  # type: ignore[arg-type]


def test_a_request_is_answered_by_nothing_else(house: House) -> None:
    """Another key, other names, a request that was given up."""
    with pytest.raises(InvalidInput, match="not acceptable") as caught:
        add(house, read(ISSUER.issue().pem, never))
    assert "no request of 'web' waits" in caught.value.errors[0].detail
    house.services.certificates.request(NAME, [*NAMES, x509.DNSName("www.example.com")], trace=TRACE)
    with pytest.raises(Conflict, match="requested already"):
        house.services.certificates.request(NAME, NAMES, trace=TRACE)
    with pytest.raises(InvalidInput) as caught:
        add(house, read(ISSUER.issue().pem, never))
    assert "not for the key that was requested as version 1" in caught.value.errors[0].detail
    fewer = read(certified(house, names=NAMES).pem, never)
    with pytest.raises(InvalidInput) as caught:
        add(house, fewer)
    assert "it lacks dns:www.example.com" in caught.value.errors[0].detail
    house.services.certificates.revoke(NAME, 1, trace=TRACE)
    with pytest.raises(InvalidInput):
        add(house, fewer)
    assert rows(house)[0].private_key is None
    assert house.services.certificates.request(NAME, NAMES, trace=TRACE).version == 2


def test_a_wildcard_bears_the_names_below_it(house: House) -> None:
    """A renewal that forgets a name is refused, unless it is meant; one that covers it by a wildcard is not."""
    add(house, ISSUER.material(names=(HOST, "www.example.com")))
    with pytest.raises(InvalidInput) as caught:
        add(house, ISSUER.material(names=("www.example.com",)))
    assert f"it lacks dns:{HOST}" in caught.value.errors[0].detail
    add(house, ISSUER.material(names=("*.example.com",)))
    house.services.certificates.retire(NAME, 2, trace=TRACE)
    add(house, ISSUER.material(names=("other.example",)), other_names=True)
    assert states(house) == ["active", "retired", "next"]


def test_what_contradicts_what_is_there(house: House) -> None:
    """The same certificate, a second successor, another use of the name, a name that can't be one."""
    material = ISSUER.material()
    add(house, material)
    for again in (material, Material(material.chain, None)):
        with pytest.raises(Conflict, match="is version 1 of web \\(active\\) already"):
            add(house, again)
    add(house, ISSUER.material())
    with pytest.raises(Conflict, match="Version 2 of web is the next one already"):
        add(house, ISSUER.material())
    with pytest.raises(Conflict, match="name of server certificates"):
        add(house, ISSUER.material(usages=[CLIENT, SERVER]), usage="client")
    for name in ("", "A", "a b", "../x", "x" * 65, "a.v2", AUTHORITY):
        with pytest.raises(InvalidInput):
            add(house, ISSUER.material(), name)
    assert states(house) == ["active", "next"]


def test_a_retired_version_is_gone(house: House) -> None:
    """The one in use is not retired by mistake; the public half stays for whoever asks what was in use."""
    store = house.services.certificates
    add(house, ISSUER.material())
    with pytest.raises(Conflict, match="is in use"):
        store.retire(NAME, 1, trace=TRACE)
    add(house, ISSUER.material())
    with pytest.raises(Conflict, match="has a next version"):
        store.retire(NAME, 1, last=True, trace=TRACE)
    store.activate(NAME, 2, trace=TRACE)
    store.retire(NAME, 1, trace=TRACE)
    with pytest.raises(Conflict, match="retired already"):
        store.retire(NAME, 1, trace=TRACE)
    with pytest.raises(NotFound, match="destroyed"):
        store.export(NAME, 1, PASSWORD, trace=TRACE)
    with pytest.raises(Conflict, match="only a next or retiring one"):
        store.activate(NAME, 1, trace=TRACE)
    assert rows(house)[0].private_key is None
    store.retire(NAME, 2, last=True, trace=TRACE)
    assert store.active_version(NAME) is None
    assert states(house) == ["retired", "retired"]


def test_a_compromised_key_is_gone_at_once_and_never_comes_back(house: House) -> None:
    """The next version takes over; a certificate for the same key is refused, under whatever name."""
    key = ec.generate_private_key(ec.SECP256R1())
    add(house, ISSUER.material(key=key))
    add(house, ISSUER.material())
    assert house.services.certificates.revoke(NAME, 1, trace=TRACE) == 2
    assert states(house) == ["revoked", "active"]
    assert rows(house)[0].private_key is None
    for name in (NAME, "other"):
        with pytest.raises(Conflict, match="revoked here"):
            add(house, ISSUER.material(key=key), name)
    with pytest.raises(Conflict, match="revoked already"):
        house.services.certificates.revoke(NAME, 1, trace=TRACE)
    assert told(house, "certificate.activated")[-1] == ("2", "revocation")
    assert house.services.certificates.revoke(NAME, 2, trace=TRACE) is None


def test_a_successor_that_is_not_valid_yet_takes_over_when_it_is(house: House) -> None:
    """Whatever its calendar was: the name has nothing else."""
    add(house, ISSUER.material())
    add(house, ISSUER.material(begins=START + 60), activates_at=int(START) + 900)
    assert house.services.certificates.revoke(NAME, 1, trace=TRACE) is None
    for offset, wanted in ((-1, None), (0, 2)):
        house.clock.now = START + 60 + offset
        duties(house)
        assert house.services.certificates.active_version(NAME) == wanted


def test_what_has_expired_is_not_given_out(house: House) -> None:
    """At the last second it is, after it a listener is told what to do."""
    add(house, ISSUER.material(days=1))
    for offset in (-1, 0):
        house.clock.now = START + DAY_SECONDS + offset
        assert house.services.certificates.current(NAME, trace=TRACE) is not None
    house.clock.advance(1)
    with pytest.raises(Misconfigured, match="has expired on 2027-01-16T08:00:00Z: renew it"):
        house.services.certificates.current(NAME, trace=TRACE)
    assert house.events()[-1]["outcome"] == "refused"
    house.clock.now = START - 61
    with pytest.raises(Misconfigured, match="not valid before"):
        house.services.certificates.current(NAME, trace=TRACE)


def test_a_clients_certificate_is_not_for_a_listener(house: House) -> None:
    """It is kept, exported and changed like any other."""
    add(house, ISSUER.material(usages=[CLIENT]), usage="client")
    with pytest.raises(Misconfigured, match="is for the usage client"):
        house.services.certificates.current(NAME, trace=TRACE)
    assert pkcs12.load_pkcs12(house.services.certificates.export(NAME, None, PASSWORD, trace=TRACE), PASSWORD.encode())


def test_a_row_that_somebody_changed_does_not_open(house: House) -> None:
    """Invariant 15: a private half in another row, another chain in a row, both are noticed."""
    add(house, ISSUER.material())
    add(house, ISSUER.material(), "other")
    c = certificates.c
    owner = house.database.owner()
    before = rows(house)
    with owner.begin() as connection:
        connection.execute(sa.update(certificates).where(c.name == NAME).values(private_key=before[0].private_key))
    with pytest.raises(Misconfigured, match="does not open"):
        house.services.certificates.current(NAME, trace=TRACE)
    with owner.begin() as connection:
        values = {"private_key": before[1].private_key, "chain_pem": before[0].chain_pem}
        connection.execute(sa.update(certificates).where(c.name == NAME).values(values))
    with pytest.raises(Misconfigured, match="belongs to another certificate"):
        house.services.certificates.current(NAME, trace=TRACE)
    with owner.begin() as connection:
        connection.execute(sa.update(certificates).where(c.name == NAME).values(chain_pem="garbage"))
    with pytest.raises(Misconfigured, match="was changed in the database"):
        house.services.certificates.current(NAME, trace=TRACE)
    owner.dispose()


def test_private_halves_are_sealed_and_sealed_again(house: House) -> None:
    """In no row in the clear; after a re-encryption under another data key, the old one gone, and usable as before."""
    issued = ISSUER.issue()
    add(house, ISSUER.material(issued))
    house.services.certificates.request("other", NAMES, trace=TRACE)
    [secret] = [issued.key.private_numbers().private_value.to_bytes(32)]  # type: ignore[union-attr]
    for row in rows(house):
        assert secret not in row.private_key
        assert b"PRIVATE" not in row.private_key
    before = {row.data_key_id for row in rows(house)}
    house.services.reencryption.run(progress=lambda *_: None, pause=lambda _: None, trace=TRACE, whatever_age=True)
    assert not before & {row.data_key_id for row in rows(house)}
    owner = house.database.owner()
    with owner.connect() as connection:
        left = connection.execute(
            sa.select(sa.func.count()).where(service_data_keys.c.purpose == "certificates")
        ).scalar()
    owner.dispose()
    assert left == 1
    again = House(house.database, clock=house.clock, master_key=MASTER_KEY)
    assert again.services.certificates.current(NAME, trace=TRACE) is not None
    again.close()


def test_an_export_is_encrypted_and_whole(house: House) -> None:
    """Opens with its password alone, holds key and chain, and can be imported again after a loss."""
    issued = ISSUER.issue()
    add(house, ISSUER.material(issued))
    packed = house.services.certificates.export(NAME, None, PASSWORD, trace=TRACE)
    secret = issued.key.private_numbers().private_value.to_bytes(32)  # type: ignore[union-attr]
    assert secret not in packed
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_pkcs12(packed, b"another")
    opened = pkcs12.load_pkcs12(packed, PASSWORD.encode())
    assert opened.cert is not None
    assert opened.cert.certificate == issued.certificate
    again = add(house, read(packed, lambda: PASSWORD), "restored")
    assert (again.state, again.pin) == ("active", house.services.certificates.get(NAME).pin)
    for weak in ("", "x" * 19, "ü" * 513):
        with pytest.raises(InvalidInput):
            house.services.certificates.export(NAME, None, weak, trace=TRACE)
    house.services.certificates.request("other", NAMES, trace=TRACE)
    with pytest.raises(Conflict, match="has no certificate"):
        house.services.certificates.export("other", 1, PASSWORD, trace=TRACE)
    with pytest.raises(NotFound):
        house.services.certificates.export("nothing", None, PASSWORD, trace=TRACE)


def test_no_private_half_is_in_log_or_repr(house: House) -> None:
    """Invariant 17."""
    issued = ISSUER.issue()
    new = add(house, ISSUER.material(issued))
    found = house.services.certificates.current(NAME, trace=TRACE)
    house.services.certificates.export(NAME, None, PASSWORD, trace=TRACE)
    numbers = issued.key.private_numbers()
    shown = json.dumps(house.events()) + repr([new, found, house.services, ISSUER.material(issued)])
    for secret in (PASSWORD, "PRIVATE KEY", str(numbers.private_value), issued.key_pem.splitlines()[1].decode()):  # type: ignore[union-attr]
        assert secret not in shown
    members = {name for event in house.events() for name in event}
    assert members <= {"event", "outcome", "reason", "timestamp", "certificate", "version", "request_id", "address"}
