"""Cross-site request forgery: where a request comes from, and tokens that only our own pages have.

Two checks that know nothing of each other. The browser says where a request comes from (Fetch Metadata; the Origin of
RFC 6454); and what changes something brings a token that was made from the secret of the same browser's cookie.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from flask import Request

from payymo.entropy import Entropy
from payymo.errors import PayymoError
from payymo.phrases import Phrase

_PURPOSE: Final = b"payymo csrf 1"
_SIZE: Final = 32


class ForeignRequest(PayymoError):
    """It comes from a page that is not ours, or the browser does not say from which."""

    code = "foreign_request"
    default_detail = "This request did not come from a page of this site, so nothing was done. Open the page again."


class StaleForm(PayymoError):
    """Its token is missing, or belongs to another session."""

    code = "stale_form"
    default_detail = "This page was out of date, so nothing was done. Please look it over, and send it again."


NO_COOKIE: Final = Phrase(
    "This page was out of date, or your browser keeps no cookies of this site, so nothing was done. "
    "Please look it over, and send it again; if that does not help, let the browser keep them."
)


def require_own_origin(request: Request) -> None:
    """Raise ForeignRequest for what another site may have caused; also where nothing says that it has not.

    `none`: the person themselves, and no page. Whoever stands before us may end TLS, so that the scheme of `Origin` is
    not compared; its host is the one that the browser has asked for.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in {None, "same-origin", "none"}:
        raise ForeignRequest
    if origin is not None and _host_of(origin) != request.host:
        raise ForeignRequest
    if site is None and origin is None:
        raise ForeignRequest


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # brackets that are no address
        return None


def make_token(secret: bytes, entropy: Entropy) -> str:
    """A token for the forms of one answer. Masked anew each time: compression must not give it away (BREACH)."""
    pad = entropy.bytes(_SIZE)
    return base64.urlsafe_b64encode(pad + _xor(pad, _proof(secret))).decode()


def require_token(text: str, secret: bytes | None) -> None:
    """Raise StaleForm for a token that was not made from this secret; None: the browser has brought none."""
    if secret is None:
        raise StaleForm(NO_COOKIE)
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 2 * _SIZE or base64.urlsafe_b64encode(raw).decode() != text:  # one spelling each
        raise StaleForm
    if not hmac.compare_digest(_xor(raw[:_SIZE], raw[_SIZE:]), _proof(secret)):
        raise StaleForm


def _proof(secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE, hashlib.sha256)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
