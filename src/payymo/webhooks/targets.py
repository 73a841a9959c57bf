"""Which URLs and addresses events may be sent to: none inside, whatever name, notation or tunnel leads there. Pure.

A name says nothing: who owns it may let it stand for any address, and for another one a second later. So addresses are
judged, and those that are judged are the ones that are connected to (OWASP, Server-Side Request Forgery Prevention).
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from payymo.errors import FieldError, InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, in the order in which they are to be tried. Raises OSError: it has none."""

URL_MAX: Final = 2_000
NO_ADDRESS: Final = "its host has no address that events are sent to: public ones, and those that the operator allows"
"""One sentence for a name that is not known and one that leads inside: nobody learns from it what is inside."""
_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+$|0[xX])(?:{_LABEL})")
"""The last label is no number, in whatever notation: 127.1, 0x7f.1 and 2130706433 are spellings of an address."""
_REST: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")

_V4: Final = [
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
]
"""Special-purpose, multicast and reserved (RFC 6890, and IANA's registry since)."""
_V6_PUBLIC: Final = ipaddress.IPv6Network("2000::/3")
"""All that was ever given out as global unicast."""
_V6: Final = [
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
"""Inside of that: Teredo and other protocols, documentation, 6to4, whose addresses stand for one of IPv4."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER: Final[list[Network]] = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8"),
        # Where machines of clouds find credentials: those of AWS, Azure, Google and others, of AWS by IPv6, of
        # Alibaba, of Oracle; and where Azure's hosts speak to their machines.
        *("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"),
        *("100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32"),
    )
]


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be sent to, if its host has an address that may."""

    is_https: bool
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_https else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without what may be a password in it."""
        return f"{'https' if self.is_https else 'http'}://{self.authority}"


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses are reached beside public ones, and whether those on the loopback are by plain http."""

    allowed: tuple[Network, ...] = ()
    allows_http: bool = False

    def admits(self, address: Address, *, is_https: bool) -> bool:
        """Whether this address may be connected to."""
        plain = _unwrapped(address)
        if any(plain in network or address in network for network in _NEVER):
            return False
        if not is_https and not (self.allows_http and plain.is_loopback):
            return False
        return _is_public(plain) or any(plain in network for network in self.allowed)

    def choose(self, target: Target, resolve: Resolve) -> list[str]:
        """The addresses of a host, if all of them may be connected to; empty: there are none, or one may not.

        All of them: a name that leads outside and inside is nobody's by accident.
        """
        try:
            found = [ipaddress.ip_address(text) for text in resolve(target.host, target.port)]
        except (OSError, ValueError, UnicodeError):
            return []
        if not all(self.admits(address, is_https=target.is_https) for address in found):
            return []
        return [str(address) for address in found]


def read_target(url: str) -> Target:
    """What a URL says. Raises InvalidInput, unless every reader of URLs would take it for the same."""
    if not url.isprintable():  # tabs and line breaks, which this reader leaves out and others refuse
        raise _refusal("without control characters")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise _refusal("a URL such as https://example.com/hooks") from None
    if parts.scheme not in {"https", "http"} or len(url) > URL_MAX or not url.startswith(f"{parts.scheme}://"):
        raise _refusal(f"https://HOST/PATH, at most {URL_MAX} characters")
    if "@" in parts.netloc or "#" in url or "\\" in url:
        raise _refusal("without a user, a password and a fragment")
    if not parts.netloc.isascii() or port == 0 or not _is_host(host, bracketed="[" in parts.netloc):
        raise _refusal("a host name in ASCII (punycode), or an address in its usual form")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _REST.fullmatch(path):
        raise _refusal("with what is not in ASCII percent-encoded")
    is_https = parts.scheme == "https"
    return Target(is_https, host, port or (443 if is_https else 80), path)


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return not bracketed and len(host) <= 253 and _NAME.fullmatch(host) is not None
    return (address.version == 6) == bracketed and "%" not in host


def _unwrapped(address: Address) -> Address:
    """The address of IPv4 that one of IPv6 stands for, where it does (RFC 4291 §2.5.5.2, RFC 6052 §2.1)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _V4)
    return address in _V6_PUBLIC and not any(address in network for network in _V6)


def _refusal(detail: str) -> InvalidInput:
    return InvalidInput([FieldError("/url", detail)])
