"""Certificates for tests of the store: an authority, what it issues, and the rows as they are."""

from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding

from payymo.certificates.model import DAY_SECONDS, CertificateVersion
from payymo.certificates.reading import Material, read
from payymo.db.schema import certificates
from payymo.logs import Trace
from payymo_guard.fake_authority import SERVER, FakeAuthority, FakeCertificate
from tests.support.house import START, House

NAME = "web"
HOST = "auth.example.com"


def never() -> str:
    """For what is not encrypted: nobody is asked."""
    raise AssertionError("a password was asked for")


class Issuer:
    """A root and an authority below it, as the world has them."""

    def __init__(self, now: float = START) -> None:
        self.root = FakeAuthority(now=now)
        self.between = FakeAuthority("Test authority", now=now, above=self.root)
        self.now = now

    def issue(
        self, *, days: float = 90, begins: float | None = None, names: tuple[str, ...] = (HOST,), **more: Any
    ) -> FakeCertificate:
        """A server's certificate, valid from a minute ago for so many days."""
        begin = self.now - 60 if begins is None else begins
        base = self.now if begins is None else begins
        more.setdefault("usages", [SERVER])
        return self.between.issue(names[0], dns_names=names, begins=begin, ends=base + days * DAY_SECONDS, **more)

    def material(self, issued: FakeCertificate | None = None, **more: Any) -> Material:
        """The same as the store reads it from a file."""
        found = issued or self.issue(**more)
        return read(found.pem, never, key=found.key_pem)


def add(house: House, material: Material, name: str = NAME, **more: Any) -> CertificateVersion:
    """Import it."""
    return house.services.certificates.add(name, material, trace=Trace(), **more)


def states(house: House, name: str = NAME) -> list[str]:
    """The states of all versions, oldest first."""
    return [found.state for found in house.services.certificates.list_all() if found.name == name]


def rows(house: House) -> list[Any]:
    """The rows as the database has them."""
    owner = house.database.owner()
    with owner.connect() as connection:
        found = list(connection.execute(sa.select(certificates).order_by(certificates.c.name, certificates.c.version)))
    owner.dispose()
    return found


def duties(house: House) -> None:
    """One round of what is due."""
    house.services.do_duties(Trace(request_id="maintenance"))


def told(house: House, event: str = "certificate.expiring") -> list[tuple[str, str | None]]:
    """The events of one kind: which version, and why."""
    return [(found["version"], found.get("reason")) for found in house.events() if found["event"] == event]


def der(issued: FakeCertificate) -> bytes:
    """The certificate alone."""
    return issued.certificate.public_bytes(Encoding.DER)
