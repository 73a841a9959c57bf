"""The catalogue of events: every type there is, what it says, and whether it is on record.

An event that is *recorded* commits with the change that it tells of, and stands in the audit log; every event is a line
in the security log. What counts them (`payymo.metrics`) must not be led to count by names that nobody has chosen.
docs/events.md is made from this; a test holds the two together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EventType:
    """What events of one name say."""

    when: str
    """When it happens, and what its members mean, in a sentence without an end."""
    fields: tuple[str, ...] = ()
    """Members besides those that every event has."""
    is_recorded: bool = True
    version: int = 1
    """Of the members and their meaning: another one when a reader has to know."""


def _logged(when: str, *fields: str) -> EventType:
    return EventType(when, fields, is_recorded=False)


def _recorded(when: str, *fields: str) -> EventType:
    return EventType(when, fields)


USER: Final = "user_id"
SESSION: Final = ("user_id", "session_id")
CERTIFICATE: Final = ("certificate", "version", "reason")
EMAIL: Final = "personal.email"

CATALOGUE: Final[dict[str, EventType]] = {
    "user.registered": _recorded(
        "somebody registered; refused: a name was taken", USER, "new.status", "new.roles", EMAIL, "personal.username"
    ),
    "user.created": _recorded(
        "an administrator or a command made a user", USER, "new.status", "new.roles", EMAIL, "personal.username"
    ),
    "user.invited": _recorded(
        "an administrator made a user, who was sent a link to choose a password with",
        *(USER, "new.status", "new.roles", EMAIL, "personal.username"),
    ),
    "user.imported": _recorded(
        "a user came with a file, by command", USER, "new.status", "new.roles", EMAIL, "personal.username"
    ),
    "user.status-changed": _recorded("enabled or disabled", USER, "reason", "old.status", "new.status"),
    "user.roles-changed": _recorded("other roles", USER, "reason", "old.roles", "new.roles"),
    "user.password-changed": _recorded(
        "by the user, or an administrator (reason); refused: the present one was wrong", USER, "reason"
    ),
    "user.password-rehashed": _recorded("a login replaced a hash of older parameters", USER),
    "user.unlocked": _recorded("logins are admitted again: by-mail, by-administrator", USER, "reason"),
    "user.password-reset": _recorded("a link for another password was used; refused: it was none", USER),
    "user.reset-requested": _recorded("such a link was asked for; refused: nobody active has the address", USER),
    "user.reset-forced": _recorded("an administrator made a password worthless", USER),
    "user.email-verified": _recorded("a link showed that the address is theirs; refused: it was none", USER),
    "user.email-change-requested": _recorded(
        "a link was to go to a new address, and did unless enough letters went there; refused: the password was wrong",
        *(USER, "personal.new_email"),
    ),
    "user.email-changed": _recorded(
        "the new address took the place of the old one", USER, "personal.old_email", "personal.new_email"
    ),
    "users.pruned": _recorded("users who never verified their address are forgotten", "count", "reason"),
    "password-policy.changed": _recorded(
        "what a tenant asks of new passwords; own: false is the service's policy", "old", "new"
    ),
    "login.waits": _recorded(
        "an account admits no stranger for a while; logged-in: who is logged in tries its present password, and waits",
        *(USER, "reason", "new.wait_seconds"),
    ),
    "login.wait-over": _recorded("the first try after such a wait"),
    "login.stopped": _recorded(
        "an account admits no stranger until it is unlocked; logged-in: nobody there tries its present password",
        *(USER, "reason"),
    ),
    "login.told": _recorded("a user is told by mail that somebody tries: wait, stop", USER, "reason"),
    "login.stuffing": _recorded("many accounts are tried: from one network, or all over the tenant", "reason"),
    "limit.set": _recorded(
        "somebody has limits of their own; reason is the class", "tenant_id", "service", "reason", "new.limits"
    ),
    "limit.unset": _recorded("they have the usual limits again", "tenant_id", "service", "reason"),
    "device.forgotten": _recorded("a known device has failed too often", "reason"),
    "session.login": _recorded(
        "a session began; refused: it did not, for whatever reason, at the address of this user, or of nobody",
        *SESSION,
        "personal.user_agent",
    ),
    "session.confirmed": _recorded(
        "the password was given again in a browser, which has another cookie since; refused: it was wrong", *SESSION
    ),
    "session.refresh": _recorded("a refresh token was presented; reason says what came of it", *SESSION, "reason"),
    "session.logout": _recorded("a user ended their session", *SESSION),
    "session.logout-everywhere": _recorded("a user ended all of their sessions", *SESSION),
    "session.ended": _recorded("another session was ended, by its user or by-administrator", *SESSION, "reason"),
    "session.others-ended": _recorded("a user ended all of their sessions but this one", *SESSION, "count"),
    "session.all-ended": _recorded("all sessions of a user were ended, by-administrator", USER, "count", "reason"),
    "sessions.ended": _recorded("every session of a tenant: tenant-suspended, key-compromised", "count", "reason"),
    "sessions.pruned": _recorded("sessions that ended long ago are forgotten", "count"),
    "links.pruned": _recorded("links that nobody used in time are forgotten", "count"),
    "session.impersonated": _recorded(
        "an administrator began to act as a user; refused: reason says why",
        *(*SESSION, "reason", "new.expires_at", "personal.why"),
    ),
    "session.impersonation-ended": _recorded(
        "an administrator acts as a user no more; reason says why, expired: the time was over a while ago",
        *(*SESSION, "reason"),
    ),
    "role.created": _recorded("a tenant's own role", "role", "new.permissions"),
    "role.changed": _recorded("other permissions", "role", "old.permissions", "new.permissions"),
    "role.removed": _recorded("also from those who held it", "role", "old.permissions"),
    "tenant.created": _recorded("a tenant", "tenant_id", "new.slug", "new.name", "new.host", "new.status"),
    "tenant.brand-changed": _recorded(
        "what a tenant is called and looks like; logo: its SHA-256; own: false is the service's look", "old", "new"
    ),
    "tenant.suspended": _recorded("nobody of it logs in", "tenant_id"),
    "tenant.active": _recorded("its users log in again", "tenant_id"),
    "tenant.deleted": _recorded("its data keys are destroyed", "tenant_id"),
    "tenant.rows-deleted": _recorded(
        "a batch of what it had is gone; the last one has a count of 0", "tenant_id", "count"
    ),
    "secret.put": _recorded("a new version of a named secret", "secret", "version"),
    "secret.read": _logged(
        "who asked for which version; reason says why it was refused", "secret", "version", "reason"
    ),
    "secret.retired": _recorded("the value of a version is destroyed", "secret", "version"),
    "master-key.rotated": _recorded("another master key wraps what is new", "kid"),
    "master-key.dropped": _recorded("nothing is wrapped under it any more", "kid"),
    "data-keys.rotated": _recorded("everything that is sealed has been sealed again", "count"),
    "key.created": _recorded("a signing key", "kid", "new.purpose", "new.algorithm", "new.state"),
    "key.rotated": _recorded("it signs from now on: command, calendar, revocation, start", "kid", "reason", "old.kid"),
    "key.revoked": _recorded("what it has signed is refused", "kid"),
    "key.destroyed": _recorded("its private half is gone from the file or token it was in", "kid"),
    "keys.retired": _recorded("their last token has expired", "count"),
    "keys.lengthened": _recorded("what they sign may live longer than it did", "new.purpose", "new.token_ttl_seconds"),
    "token.revoked": _recorded("one access token is refused", USER, "reason", "new.jti"),
    "service.created": _recorded("a service credential", "service", "new.scopes", "new.expires_at"),
    "service.revoked": _recorded("it is refused", "service"),
    "event.received": _logged("a receiver of security events has refused one; reason is its code", "service", "reason"),
    "mail.sent": _logged("mail says of what kind, version at which attempt", USER, "mail", "version"),
    "mail.delayed": _logged("it is tried again", USER, "mail", "version", "reason"),
    "mail.given-up": _logged("it is not", USER, "mail", "version", "reason"),
    "mail.sender-changed": _recorded("in whose name a tenant's mail goes out", "new.own", "personal"),
    "certificate.replaced": _logged("the service's own; refused: the line after it says why", "reason"),
    "certificate.requested": _recorded("a key was made, and a request for its certificate", *CERTIFICATE),
    "certificate.imported": _recorded("a certificate came", *CERTIFICATE),
    "certificate.issued": _recorded("by the development authority", *CERTIFICATE),
    "certificate.activated": _recorded("it is in use: import, command, calendar, revocation", *CERTIFICATE),
    "certificate.retired": _recorded("its private half is destroyed", *CERTIFICATE),
    "certificate.revoked": _recorded("it is never accepted again", *CERTIFICATE),
    "certificate.exported": _recorded("with its private half, encrypted", *CERTIFICATE),
    "certificate.used": _logged("a listener has loaded it, or was refused", *CERTIFICATE),
    "certificate.expiring": _recorded("30, 7 and 1 days ahead; and when it is over (error)", *CERTIFICATE),
    "webhook.created": _recorded(
        "an endpoint that events are sent to", "webhook", "new.origin", "new.events", "new.personal", "new.certificate"
    ),
    "webhook.changed": _recorded("what is said of it; or it is enabled again", "webhook", "old", "new"),
    "webhook.disabled": _recorded(
        "nothing is sent any more: by-hand; gone (410), failing: it took nothing for days", "webhook", "reason"
    ),
    "webhook.deleted": _recorded("with its secrets, and what it has not taken", "webhook", "old"),
    "webhook.secret-rotated": _recorded(
        "another secret signs; the one before it for a while, too", "webhook", "version", "new.overlap_seconds"
    ),
    "webhook.tested": _recorded("something was sent to it on trial; error: it was not taken", "webhook", "reason"),
    "webhook.redelivered": _recorded("an event is sent again by hand, taken or not", "webhook", "new.event"),
    "webhook.delayed": _logged("an event was not taken and is tried again", "webhook", "version", "reason"),
    "webhook.given-up": _logged("it is not", "webhook", "version", "reason"),
    "apikey.created": _recorded(
        "what a tenant's own program proves itself with", "apikey", "new.name", "new.permissions", "new.expires_at"
    ),
    "apikey.revoked": _recorded("it is refused, and every token that was made with it", "apikey", "old.name"),
    "apikey.exchange": _recorded(
        "an access token was asked for with it; refused: wrong-secret, expired, revoked, inactive-tenant, "
        "another-tenant, scope",
        "apikey",
        "reason",
    ),
    "user.exported": _recorded(
        "everything that is stored of a user was handed out: by-user, by-administrator", USER, "reason"
    ),
    "user.erased": _recorded("a user is deleted, with what is personal of them in the log", USER, "old.status"),
    "audit.disclosed": _recorded(
        "what is personal in an event was handed out, with a proof that it is on record", USER, "new.event"
    ),
    "audit.retention-changed": _recorded(
        "how many days this log keeps its events; 0: for ever, null: as the settings say",
        "old.keep_days",
        "new.keep_days",
    ),
    "audit.removed": _recorded(
        "events from a position up to before another were too old; root is the tree's hash at the second one",
        *("new.from", "new.to", "new.root"),
    ),
    "permission.required": _recorded(
        "somebody lacked a permission: reason; of a service credential it is only logged", USER, "reason"
    ),
    "request.invalid_client": _logged("an API key was refused", "reason"),
    "request.invalid_token": _logged("a token was refused", "reason"),
    "request.too_many_requests": _logged("a limit was reached", "reason"),
    "request.overloaded": _logged("there was too much to do", "reason"),
}

EVENTS: Final = frozenset(CATALOGUE)
