"""What `payymo certificate` shows of a version."""

from typing import Any

from payymo.certificates.model import DAY_SECONDS, EXPIRED, CertificateVersion, one, warning_of
from payymo.certificates.validation import load_chain, names_of, when

COLUMNS = ("name", "version", "usage", "state", "not_after", "days_left", "changes_at", "warning")


def row(version: CertificateVersion, everything: tuple[CertificateVersion, ...], now: int) -> dict[str, Any]:
    """What a row of the list shows."""
    own = [found for found in everything if found.name == version.name]
    is_alive = version.state in {"next", "active", "retiring"} and version.not_after is not None
    changes_at = {"next": version.activates_at, "retiring": version.retires_at}.get(version.state)
    return {
        "name": version.name,
        "version": version.version,
        "usage": version.usage,
        "state": version.state,
        "is_development": version.is_development,
        "not_after": _when(version.not_after),
        "days_left": ((version.not_after or 0) - now) // DAY_SECONDS if is_alive else None,
        "changes_at": _when(changes_at),
        "warning": _warning(version, one(own, "next"), now),
    }


def _warning(version: CertificateVersion, following: CertificateVersion | None, now: int) -> str | None:
    days = warning_of(version, following, now)
    if days is None:
        return None
    return "expired" if days == EXPIRED else f"expires within {days} {'day' if days == 1 else 'days'}, no successor"


def facts_of(version: CertificateVersion) -> dict[str, Any]:
    """Everything public, for people and auditors."""
    facts: dict[str, Any] = {
        "name": version.name,
        "version": version.version,
        "usage": version.usage,
        "state": version.state,
        "is_development": version.is_development,
    }
    if version.chain_pem is not None:
        leaf, *others = load_chain(version.chain_pem)
        facts |= {
            "subject": leaf.subject.rfc4514_string(),
            "names": list(names_of(leaf)),
            "serial_number": f"{leaf.serial_number:x}",
            "issuer": leaf.issuer.rfc4514_string(),
            "chain": [found.subject.rfc4514_string() for found in others],
        }
    return facts | {
        "not_before": _when(version.not_before),
        "not_after": _when(version.not_after),
        "thumbprint": version.thumbprint,
        "pin": version.pin,
        "has_private_key": version.sealed is not None,
        "created_at": _when(version.created_at),
        "activates_at": _when(version.activates_at),
        "activated_at": _when(version.activated_at),
        "retires_at": _when(version.retires_at),
    }


def outcome(new: CertificateVersion) -> dict[str, Any]:
    """What came of an import."""
    return {
        "name": new.name,
        "version": new.version,
        "state": new.state,
        "not_after": _when(new.not_after),
        "activates_at": _when(new.activates_at),
    }


def _when(seconds: int | None) -> str | None:
    return None if seconds is None else when(seconds)
