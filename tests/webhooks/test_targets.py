"""Where events may be sent: a corpus of URLs and addresses that lead inside, in every notation (SSRF)."""

import ipaddress

import pytest

from payymo.errors import InvalidInput
from payymo.webhooks.targets import AddressPolicy, Target, read_target

ANY = ".".join("0000")
STRICT = AddressPolicy()
INTRANET = AddressPolicy((ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("0.0.0.0/0")))
INSIDE = [
    *("127.0.0.1", "127.255.255.254", ANY, "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "100.100.100.200", "192.0.0.192"),
    *("198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "168.63.129.16", "192.88.99.1"),
    *("::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "ff0e::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:7f00:1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::808:808"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001::1", "2001:db8::1", "3fff::1", "4000::1"),
]
OUTSIDE = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
NO_URL = [
    *("", "example.com/x", "ftp://example.com/x", "file:///etc/passwd", "gopher://example.com/", "https:example.com"),
    *("https:///x", "https://user@example.com/", "https://u:p@example.com/", "https://example.com@127.0.0.1/"),
    *("https://example.com/#x", "https://example.com\\@127.0.0.1/", "https://example.com:0/", "https://e.com:65536/"),
    *("https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://0x7f.1/"),
    *(
        "https://127.0.0.1.:1/x y",
        "https://①②⑦.0.0.1/",
        "https://ｅxample.com/",
        "https://\N{KELVIN SIGN}elvin.com/",
        "https://[::1%25eth0]/",
        "https://::1/",
    ),
    *(
        "https://[127.0.0.1]/",
        "https://[v1.x]/",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://exa\tmple.com/",
        "https://example.com/a\nb",
        "https://-a.com/",
    ),
    *("https://a..b/", "https://example.com/" + "x" * 2000, "https://example.com/\x00", " https://example.com/"),
]


@pytest.mark.parametrize("text", INSIDE)
def test_what_is_inside_is_not_connected_to(text: str) -> None:
    """CVE-2026-5469, CVE-2026-27945, CVE-2026-55671, CVE-2024-49753, CVE-2025-67494: whatever it is wrapped in."""
    assert not STRICT.admits(ipaddress.ip_address(text), is_https=True)


@pytest.mark.parametrize("text", OUTSIDE)
def test_what_is_public_is(text: str) -> None:
    """By IPv4, by IPv6, and through NAT64, where a network has nothing else."""
    assert STRICT.admits(ipaddress.ip_address(text), is_https=True)


@pytest.mark.parametrize("text", NO_URL)
def test_what_two_readers_could_take_for_different_things_is_no_url(text: str) -> None:
    """Decimal, octal, hexadecimal, shortened, full-width, with a user in front, with a zone: refused."""
    with pytest.raises(InvalidInput) as refusal:
        read_target(text)
    assert [found.pointer for found in refusal.value.errors] == ["/url"]


def test_a_url_says_where() -> None:
    """Host, port and path, with the query; an address of IPv6 in brackets."""
    assert read_target("https://hooks.example.com/a?b=c") == Target(True, "hooks.example.com", 443, "/a?b=c")  # noqa: FBT003
    assert read_target("https://[2001:DB8::1]:8443").authority == "[2001:db8::1]:8443"


def test_the_operator_may_open_the_intranet_and_nothing_else() -> None:
    """An allowed network is reached; where credentials of machines lie, nobody is, whatever was allowed."""
    assert INTRANET.admits(ipaddress.ip_address("10.1.2.3"), is_https=True)
    assert INTRANET.admits(ipaddress.ip_address("::ffff:10.1.2.3"), is_https=True)
    for never in (
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        ANY,
    ):
        assert not INTRANET.admits(ipaddress.ip_address(never), is_https=True), never
    assert not INTRANET.admits(ipaddress.ip_address("8.8.8.8"), is_https=False)


def test_plain_http_is_for_the_loopback_in_development() -> None:
    """A name that leads elsewhere is not spoken to in plain."""
    loopback = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))
    development, production = AddressPolicy(loopback, allows_http=True), AddressPolicy(loopback)
    assert development.admits(ipaddress.ip_address("127.0.0.1"), is_https=False)
    assert not development.admits(ipaddress.ip_address("10.0.0.1"), is_https=False)
    assert not production.admits(ipaddress.ip_address("127.0.0.1"), is_https=False)


@pytest.mark.parametrize("answer", [[], ["8.8.8.8", "127.0.0.1"], ["no address"], ["::1"]])
def test_a_name_that_leads_inside_too_is_refused_as_a_whole(answer: list[str]) -> None:
    """One address that may not be connected to is enough; a name without any is refused in the same way."""
    target = read_target("https://hooks.example.com/")
    assert STRICT.choose(target, lambda _host, _port: answer) == []
    assert STRICT.choose(target, lambda _host, _port: ["8.8.8.8", "1.1.1.1"]) == ["8.8.8.8", "1.1.1.1"]
