"""The feed as Security Event Tokens (RFC 8417), for receivers that speak RFC 8936 and CAEP instead of ours. Pure.

CAEP's `session-revoked` says what our entries for sessions, users and tenants say. It has no event for a single token,
for a signing key, or for permissions whose new values are not told: those entries are passed over.
"""

from typing import Any, Final

from payymo.feed.model import Entry

SESSION_REVOKED: Final = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"


def event_claims(entry: Entry, *, issuer: str, audience: str, now: int) -> dict[str, Any] | None:
    """The claims of the event token (RFC 8417 §2.2, subjects by RFC 9493); None for what CAEP has no event for."""
    subject = _subject(entry, issuer)
    if subject is None:
        return None
    return {
        "iss": issuer,
        "aud": audience,
        "iat": now,
        "jti": str(entry.cursor),
        "sub_id": {"format": "complex", **subject},
        "events": {SESSION_REVOKED: {"event_timestamp": entry.not_before}},
    }


def _subject(entry: Entry, issuer: str) -> dict[str, Any] | None:
    tenant = {} if entry.tenant_id is None else {"tenant": {"format": "opaque", "id": entry.tenant_id}}
    match entry.kind:
        case "session":
            return {"session": {"format": "opaque", "id": entry.id}, **tenant}
        case "user":
            return {"user": {"format": "iss_sub", "iss": issuer, "sub": entry.id}, **tenant}
        case "tenant":
            return {"tenant": {"format": "opaque", "id": entry.id}}
        case _:
            return None
