"""What speaks against running in production, as far as the settings tell; and what an operator should know of them.

What the database and the master key tell is asked in `payymo.compose`.
"""

import ipaddress
from urllib.parse import urlsplit

from payymo.config import Settings

WIDEST_PREFIX = 7
"""As wide as private networks get (fc00::/7); 0.0.0.0/0 and its halves are wider."""


def warnings_about(settings: Settings) -> tuple[str, ...]:
    """What an operator should know, and may have meant."""
    if not settings.is_production:
        return ()
    lifted = [
        f"PAYYMO_LIMITS__{name.upper()} is empty: this class of routes has no rate limit"
        for name in ("login", "refresh", "verify", "registration", "default", "mail", "service")
        if not getattr(settings.limits, name)
    ]
    if settings.database.owner_url:
        lifted.append("PAYYMO_DATABASE__OWNER_URL is known to the service: give it to `payymo db upgrade` alone")
    if settings.metrics.address and not ipaddress.ip_address(settings.metrics.address[0]).is_loopback:
        lifted.append(
            f"PAYYMO_METRICS__BIND shows the metrics to whoever reaches {settings.metrics.bind}: "
            "let a firewall admit your Prometheus alone"
        )
    if _is_open_http(settings.tracing.endpoint):
        lifted.append(
            "PAYYMO_TRACING__ENDPOINT is plain http, and not on this machine: whoever sees the network sees the spans"
        )
    if not settings.audit.checkpoints_to:
        lifted.append(
            "PAYYMO_AUDIT__CHECKPOINTS_TO is empty: no checkpoint of the audit log leaves the database, and whoever "
            "can write there could cut the log off unnoticed (docs/operations/audit.md)"
        )
    return tuple(lifted)


def reasons_against_production(settings: Settings) -> tuple[str, ...]:
    """Every reason, readable from the settings alone, why this must not run in production."""
    mail, links = settings.mail, settings.links
    several = settings.server.workers > 1 or settings.server.nodes > 1
    refusals = {
        "PAYYMO_DEBUG is on": settings.debug,
        "PAYYMO_ISSUER is plain http: use https": not settings.issuer.startswith("https://"),
        "PAYYMO_LIMITS__ENABLED is false": not settings.limits.enabled,
        "PAYYMO_LOCKOUT__ENABLED is false": not settings.lockout.enabled,
        "PAYYMO_LIMITS__STORE is memory, which each process counts for itself, with more than one worker or node: "
        "set PAYYMO_REDIS__URL": several and settings.limits_store == "memory",
        "SQLite holds the rate limits (and everything else) of more than one node: set PAYYMO_DATABASE__URL and "
        "PAYYMO_REDIS__URL": settings.server.nodes > 1 and settings.database_url.startswith("sqlite"),
        "PAYYMO_LIMITS__STORE is redis, and PAYYMO_REDIS__URL is not set": settings.limits_store == "redis"
        and settings.redis.url is None,
        "PAYYMO_VAULT__ADDRESS is plain http, and not on this machine: use https": _is_open_http(
            settings.vault.address
        ),
        "PAYYMO_TRACING__HEADERS would cross the network in plain: let PAYYMO_TRACING__ENDPOINT begin with https": bool(
            settings.tracing.headers
        )
        and _is_open_http(settings.tracing.endpoint),
        "PAYYMO_FEED__OPEN_TO lets strangers follow the revocations: name networks of your own, or give guards a "
        "credential (payymo service create)": any(
            network.prefixlen < WIDEST_PREFIX for network in settings.feed_open_to
        ),
        "PAYYMO_WEBHOOKS__ALLOW_PRIVATE lets tenants have events sent to any address: name networks of your own": any(
            network.prefixlen < WIDEST_PREFIX for network in settings.webhooks_allowed
        ),
        "PAYYMO_LINKS__… leads to plain http: use https": any(
            page is not None and not page.startswith("https://")
            for page in (links.base_url, links.verify_email, links.change_email, links.reset_password, links.unlock)
        ),
        "PAYYMO_MAIL__TRANSPORT shows one-time links to whoever reads a console or a folder: use smtp": mail.way
        not in {None, "smtp"},
        "PAYYMO_MAIL__TLS is off, and PAYYMO_MAIL__HOST is not this machine: use starttls or implicit": mail.tls
        == "off"
        and mail.host is not None
        and not _is_this_machine(mail.host),
    }
    return tuple(reason for reason, holds in refusals.items() if holds)


def _is_open_http(address: str | None) -> bool:
    """Whether tokens and secrets would cross a network in plain. A Vault Agent on the loopback is as good as TLS."""
    parts = urlsplit(address or "")
    return parts.scheme == "http" and not _is_this_machine(parts.hostname or "")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
