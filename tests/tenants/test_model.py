"""Host names: what a tenant may have, and what is read from a request."""

import uuid

import pytest

from payymo.errors import InvalidInput
from payymo.tenants.model import Tenant, host_of
from tests.support.house import House

TENANT_ID = uuid.UUID(int=1, version=4)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("acme.example", "acme.example"),
        ("ACME.example:8080", "acme.example"),
        ("acme.example.", "acme.example"),
        ("acme.example.:443", "acme.example"),
        ("127.0.0.1:5000", "127.0.0.1"),
        ("[::1]:5000", "[::1]"),
        ("my_service", "my_service"),
    ],
)
def test_a_host_header_is_read_without_port_and_root(header: str, host: str) -> None:
    """RFC 9110 §7.2, RFC 3986 §3.2.2."""
    assert host_of(header) == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        ".",
        ":80",
        "acme.example:x",
        "acme.example:",
        "acme.example:123456",
        "evil@acme.example",
        "acme..example",
        ".acme.example",
        "acme.example..",
        "acme.example ",
        "acme.example\n",
        "acme.example,other.example",
        "acme.example/x",
        "[::1",
        "::1",
        "\u212acme.example",
        "a" * 300,
    ],
)
def test_a_host_header_that_cannot_be_read_is_nobodys(house: House, header: str) -> None:
    """Invariant 10: it must not fall to the default tenant, where another user of that name may live."""
    assert host_of(header) is None
    house.user("alice")
    if header.isprintable() and header.isascii():
        assert house.client(headers={"Host": header}).log_in().status_code in {400, 404}


@pytest.mark.parametrize(
    "host", ["a..b", "-a.example", "a-.example", ".a", "a.", "A.example", "a:80", "a" * 64, "ä.de"]
)
def test_a_tenants_host_is_a_host_name(host: str) -> None:
    """RFC 1123 §2.1; what no request could ever name would be a tenant that nobody reaches."""
    with pytest.raises(InvalidInput):
        Tenant(TENANT_ID, "acme", "Acme", host, "active", 0)


@pytest.mark.parametrize("host", ["a", "acme.example", "1.example", "a-b.example", "xn--mnchen-3ya.example"])
def test_host_names_that_can_be_had(host: str) -> None:
    """And each is read from a header as it is written."""
    assert Tenant(TENANT_ID, "acme", "Acme", host, "active", 0).host == host_of(host)
