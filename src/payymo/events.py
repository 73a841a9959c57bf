"""The names of security events: the whole vocabulary, in one place.

What counts them (`payymo.metrics`) must not be led to count by names that nobody has chosen. docs/operating.md says
when each is written; a test holds the three together.
"""

from typing import Final

EVENTS: Final = frozenset(
    {
        "user.registered",
        "user.created",
        "user.status-changed",
        "user.roles-changed",
        "user.password-changed",
        "user.password-reset",
        "user.reset-requested",
        "user.reset-forced",
        "user.email-verified",
        "user.email-change-requested",
        "user.email-changed",
        "session.login",
        "session.refresh",
        "session.logout",
        "session.logout-everywhere",
        "session.ended",
        "role.created",
        "role.changed",
        "role.removed",
        "tenant.created",
        "tenant.suspended",
        "tenant.active",
        "tenant.deleted",
        "secret.put",
        "secret.read",
        "secret.retired",
        "master-key.rotated",
        "data-keys.rotated",
        "key.rotated",
        "key.revoked",
        "key.destroyed",
        "token.revoked",
        "service.created",
        "service.revoked",
        "event.received",
        "mail.sent",
        "mail.delayed",
        "mail.given-up",
        "mail.sender-changed",
        "certificate.replaced",
        "certificate.requested",
        "certificate.imported",
        "certificate.issued",
        "certificate.activated",
        "certificate.retired",
        "certificate.revoked",
        "certificate.exported",
        "certificate.used",
        "certificate.expiring",
        "permission.required",
        "request.invalid_token",
        "request.too_many_requests",
    }
)
