"""The certificate that a proxy has seen, as it hands it on (RFC 9440).

`Client-Cert` and `Client-Cert-Chain` say what the proxy has verified in TLS, namely that the client holds the key. From
anybody else they say nothing: whoever reads them has to know that they come from the proxy.
"""

import base64
import re

from payymo_guard.certificate_reading import MAX_CERTIFICATE_BYTES, CertificateRefused
from payymo_guard.certificates import MAX_INTERMEDIATES

_BINARY = r":([A-Za-z0-9+/]*={0,2}):"
_ITEM = re.compile(rf" *{_BINARY} *")
_LIST = re.compile(rf" *{_BINARY}(?:[ \t]*,[ \t]*{_BINARY})* *")
_EACH = re.compile(_BINARY)
MAX_HEADER = MAX_CERTIFICATE_BYTES * 4 // 3 * (MAX_INTERMEDIATES + 1)


def read_certificate(value: str) -> bytes:
    """The certificate (DER) in a `Client-Cert` header: one Byte Sequence (RFC 9651). Raises CertificateRefused."""
    found = _ITEM.fullmatch(value) if len(value) <= MAX_HEADER else None
    if found is None:
        raise CertificateRefused("certificate_malformed", "Client-Cert is not one Byte Sequence (RFC 9440 §2.2)")
    return _decode(found[1])


def read_chain(value: str) -> list[bytes]:
    """The certificates (DER) in a `Client-Cert-Chain` header (RFC 9440 §2.3). Raises CertificateRefused."""
    if len(value) > MAX_HEADER or not _LIST.fullmatch(value):
        raise CertificateRefused("certificate_malformed", "Client-Cert-Chain is no list of them (RFC 9440 §2.3)")
    return [_decode(text) for text in _EACH.findall(value)]


def write_certificate(der: bytes) -> str:
    """A `Client-Cert` header, for proxies in Python, and for tests."""
    return f":{base64.b64encode(der).decode()}:"


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise CertificateRefused("certificate_malformed", "not base64") from None
