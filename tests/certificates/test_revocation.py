"""A key that somebody else may have is refused for ever, wherever it is; and requests keep to what they are for."""

import pytest

from payymo.certificates.making import parse_names
from payymo.errors import Conflict, NotFound
from payymo.logs import Trace
from tests.support.certificates import HOST, NAME, Issuer, add, states, told
from tests.support.house import House

ISSUER = Issuer()


def revoke(house: House, version: int) -> int | None:
    return house.services.certificates.revoke(NAME, version, trace=Trace())


def test_the_renewal_of_a_revoked_key_is_revoked_with_it(house: House) -> None:
    """ACME clients may keep the key at renewal: it must not come into use because the one before is given up."""
    first = ISSUER.issue()
    add(house, ISSUER.material(first))
    add(house, ISSUER.material(ISSUER.issue(days=200, key=first.key)))
    assert states(house) == ["active", "next"]
    assert revoke(house, 1) is None
    assert states(house) == ["revoked", "revoked"]
    assert house.services.certificates.current(NAME, trace=Trace()) is None
    assert [version for version, _ in told(house, "certificate.revoked")] == ["1", "2"]


def test_a_retiring_version_with_a_revoked_key_does_not_come_back(house: House) -> None:
    """Going back is for mistakes of one's own."""
    first = ISSUER.issue()
    add(house, ISSUER.material(first))
    add(house, ISSUER.material(ISSUER.issue(days=200, key=first.key)))
    house.services.certificates.activate(NAME, 2, trace=Trace())
    assert states(house) == ["retiring", "active"]
    revoke(house, 2)
    assert states(house) == ["revoked", "revoked"]
    with pytest.raises(Conflict):
        house.services.certificates.activate(NAME, 1, trace=Trace())


def test_another_name_with_the_same_key_loses_it_too(house: House) -> None:
    """And its own next version, which has another key, is in use at once."""
    first = ISSUER.issue()
    add(house, ISSUER.material(first))
    add(house, ISSUER.material(ISSUER.issue(key=first.key)), "other")
    add(house, ISSUER.material(days=200), "other")
    revoke(house, 1)
    assert states(house, "other") == ["revoked", "active"]
    assert told(house, "certificate.activated")[-1] == ("2", "revocation")


def test_a_request_is_for_what_the_name_is_for(house: House) -> None:
    """Else the calendar would put a certificate into use that no listener may show."""
    add(house, ISSUER.material())
    names = parse_names((HOST,), (), ())
    with pytest.raises(Conflict, match="server certificates"):
        house.services.certificates.request(NAME, names, usage="client", trace=Trace())
    assert states(house) == ["active"]


def test_what_is_ended_is_not_what_is_meant_without_a_number(house: House) -> None:
    """A script that gives out the chain must not give out a revoked one."""
    add(house, ISSUER.material())
    revoke(house, 1)
    certificates = house.services.certificates
    for ask in (lambda: certificates.get(NAME), lambda: certificates.list_accepted(NAME)):
        with pytest.raises(NotFound):
            ask()
    assert certificates.get(NAME, 1).state == "revoked"
