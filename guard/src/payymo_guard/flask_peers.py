"""Guards views of a Flask application by client certificates, and by signatures of the body.

TLS may end in this process (gunicorn, or Werkzeug's own server, with an `ssl.SSLContext` that asks for certificates),
or in a proxy that hands the certificate on as `Client-Cert` (RFC 9440). The header counts from trusted proxies alone;
from anybody else it is as if it was not there. A proxy removes what its clients send under that name (RFC 9440 §2.4).
"""

import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from flask import Flask, Response, current_app, g, request

from payymo_guard.certificate_reading import CertificateRefused
from payymo_guard.certificates import ClientCertificate, TrustSet
from payymo_guard.client_cert import read_certificate, read_chain
from payymo_guard.flask_views import V, behind, problem
from payymo_guard.webhooks import SignatureRefused, Webhook, WebhookVerifier

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
EXTENSION = "payymo_guard"
_log = logging.getLogger("payymo_guard")
_system_clock: Final = time.time  # noqa: TID251 - the default of the one parameter by which time is handed in
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")


class PeerGuard:
    """The trust sets and webhook verifiers of an application, by name."""

    def __init__(
        self,
        app: Flask | None = None,
        *,
        trust: Iterable[TrustSet] = (),
        webhooks: Mapping[str, WebhookVerifier] | None = None,
        trusted_proxies: Iterable[str] = (),
        clock: Callable[[], float] = _system_clock,
    ) -> None:
        """`trusted_proxies`: networks, such as `10.0.0.0/8`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._trust = {found.name: found for found in trust}
        self._webhooks = dict(webhooks or {})
        self._proxies: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in trusted_proxies)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Let the views of `app` ask this guard."""
        app.extensions[EXTENSION] = self

    def replace(self, trust: TrustSet) -> None:
        """Use another trust set of the same name from now on: new roots, pins, names or revocation lists."""
        with self._lock:
            self._trust = {**self._trust, trust.name: trust}

    def certificate(self, trust: str) -> ClientCertificate:
        """Who the present request comes from. Raises CertificateRefused, LookupError (no such trust set)."""
        found = self._trust[trust]
        certificate, chain = self._shown()
        if certificate is None:
            raise CertificateRefused("certificate_missing")
        return found.verify(certificate, chain, at=self._clock())

    def webhook(self, name: str) -> Webhook:
        """Which message the body of the present request is. Raises SignatureRefused, LookupError (no such verifier)."""
        headers = {key.lower(): value for key, value in request.headers.items()}
        return self._webhooks[name].verify(headers, request.get_data())

    def _shown(self) -> tuple[bytes | None, list[bytes]]:
        """The certificate (DER) of the one at the other end of the connection, or of the one behind a trusted proxy."""
        if self._is_proxy(_peer_of(request.environ)):
            value = request.headers.get("Client-Cert")
            chain = request.headers.get("Client-Cert-Chain")
            if value is None:
                return None, []
            return read_certificate(value), read_chain(chain) if chain else []
        for name in _SOCKETS:
            connection = request.environ.get(name)
            if isinstance(connection, ssl.SSLSocket):
                # Python 3.13 shows what else was sent; before, intermediates have to be in the trust set.
                others: list[bytes] = getattr(connection, "get_unverified_chain", list)()
                return connection.getpeercert(binary_form=True), others[1:]
        return None, []

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._proxies)


def require_client_certificate(*, trust: str) -> Callable[[V], V]:
    """Let nobody in without a certificate that this trust set accepts. The view finds it by `certificate()`."""

    def check(_: Mapping[str, Any]) -> Response | None:
        try:
            g.payymo_certificate = _guard().certificate(trust)
        except CertificateRefused as refused:
            _log.warning("certificate refused: %s: %s", refused.code, refused.private)
            return problem(refused.code, refused.detail, 403)
        return None

    return behind(check)


def require_signature(*, webhook: str) -> Callable[[V], V]:
    """Let no body in that this webhook verifier does not accept. The view finds which message it is by `webhook()`."""

    def check(_: Mapping[str, Any]) -> Response | None:
        try:
            g.payymo_webhook = _guard().webhook(webhook)
        except SignatureRefused as refused:
            _log.warning("signature refused: %s", refused.code)
            return problem(refused.code, refused.detail, 403)
        return None

    return behind(check)


def certificate() -> ClientCertificate:
    """Who sends the present request. Only inside a view that `require_client_certificate` guards."""
    found: ClientCertificate = g.payymo_certificate
    return found


def webhook() -> Webhook:
    """Which message the present request brings. Only inside a view that `require_signature` guards."""
    found: Webhook = g.payymo_webhook
    return found


def _guard() -> PeerGuard:
    found: PeerGuard | None = current_app.extensions.get(EXTENSION)
    if found is None:
        raise RuntimeError("payymo_guard: call PeerGuard(app, ...) before the first request")
    return found


def _peer_of(environ: Mapping[str, Any]) -> str:
    """Who is at the other end of the connection, also when ProxyFix has put somebody else there.

    The connection itself knows best, where the server shows it; a UNIX socket has no address.
    """
    for name in _SOCKETS:
        connection = environ.get(name)
        if isinstance(connection, socket.socket):
            peer = connection.getpeername()
            return str(peer[0]) if isinstance(peer, tuple) else ""
    return str(environ.get("werkzeug.proxy_fix.orig", environ).get("REMOTE_ADDR") or "")
