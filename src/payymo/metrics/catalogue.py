"""Every metric that there is. Pure.

The values of a label are a closed vocabulary: whatever else is handed in is counted as `other`, so that nothing that a
stranger chooses becomes a series. Names of certificates are the operator's own.
"""

from collections.abc import Mapping
from typing import Final, get_args

from payymo.certificates.model import Usage
from payymo.events import EVENTS
from payymo.guards.model import STANDINGS
from payymo.health import model as health
from payymo.keys.model import PURPOSES
from payymo.limits.model import Tier
from payymo.logs import OUTCOMES
from payymo.metrics.family import Family, Vocabulary
from payymo.web.console.opening import list_pages
from payymo.web.console.reception import ASSETS
from payymo.web.measuring import UNMATCHED
from payymo.web.mount import list_routes
from payymo.webhooks.model import OUTCOMES as WEBHOOK_OUTCOMES

LOCKOUT: Final = "lockout"
"""Beside the tiers of limits: an account, a network or a tenant where too many logins have failed."""

_PAGES: Final = frozenset(page.path for page in list_pages()) | {ASSETS}
_ROUTE: Final = frozenset(route.path for route in list_routes()) | _PAGES | {UNMATCHED}
_METHOD: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STATUS: Final = frozenset({"1xx", "2xx", "3xx", "4xx", "5xx"})
_PURPOSE: Final = frozenset(PURPOSES)
_KEY_STATE: Final = frozenset({"next", "active", "retiring"})
_CERTIFICATE: Final[Mapping[str, Vocabulary | None]] = {
    "name": None,
    "version": None,
    "state": frozenset({"next", "active", "retiring"}),
    "usage": frozenset(get_args(Usage)),
}

EVENTS_TOTAL: Final = Family(
    "payymo_security_events_total",
    "counter",
    "Security events, as the log has them, by name and outcome.",
    {"event": EVENTS, "outcome": frozenset(OUTCOMES)},
)
REQUESTS_TOTAL: Final = Family(
    "payymo_http_requests_total",
    "counter",
    "Requests that were answered, by route, method and class of status.",
    {"route": _ROUTE, "method": _METHOD, "status": _STATUS},
    starts_at_zero=False,
)
REQUEST_SECONDS: Final = Family(
    "payymo_http_request_duration_seconds",
    "histogram",
    "Seconds from when a thread takes a request until its answer is ready; without waiting for the revocation feed.",
    {"route": _ROUTE, "method": _METHOD},
    starts_at_zero=False,
)
LIMITED_TOTAL: Final = Family(
    "payymo_rate_limit_refusals_total",
    "counter",
    "Tries that a rate limit or the lockout has refused, by tier.",
    {"tier": frozenset((*get_args(Tier), LOCKOUT))},
)
DELIVERY_SECONDS: Final = Family(
    "payymo_revocation_delivery_seconds",
    "histogram",
    "Seconds from when a revocation was there at the earliest until a follower who waited for it was answered.",
    starts_at_zero=False,
)
WEBHOOKS_TOTAL: Final = Family(
    "payymo_webhook_deliveries_total",
    "counter",
    "Attempts to deliver an event to an endpoint, by what came of them.",
    {"outcome": frozenset(WEBHOOK_OUTCOMES)},
)
HASHES: Final = Family(
    "payymo_password_hashes",
    "gauge",
    "Password hashes that run, and callers that wait for one.",
    {"state": frozenset({"running", "waiting"})},
)
HASHES_SHED_TOTAL: Final = Family(
    "payymo_password_hashes_shed_total", "counter", "Callers that were sent away because too many hashes were wanted."
)
CONNECTIONS: Final = Family("payymo_database_connections_in_use", "gauge", "Connections of the pool that are in use.")
POOL_SIZE: Final = Family("payymo_database_pool_size", "gauge", "Connections that the pool may have.")
WORKERS: Final = Family("payymo_workers", "gauge", "Worker processes that are there.")
WORKER_STARTS_TOTAL: Final = Family(
    "payymo_worker_starts_total", "counter", "Worker processes that have begun since the service was started."
)
DUTIES_LEADER: Final = Family(
    "payymo_duties_leader", "gauge", "1 on the node that does the due duties of all nodes, otherwise 0."
)
DUTIES_INTERVAL: Final = Family(
    "payymo_duties_interval_seconds", "gauge", "How often due duties are looked for.", mode="max"
)
DUTIES_ROUNDS_TOTAL: Final = Family(
    "payymo_duties_rounds_total",
    "counter",
    "Rounds of duties that this node has done, by outcome.",
    {"outcome": frozenset({"success", "error"})},
)
DUTIES_LAST: Final = Family(
    "payymo_duties_last_success_timestamp_seconds",
    "gauge",
    "When this node has last done the duties, in seconds since 1970; 0: not since it was started.",
    mode="max",
)
DUTIES_SECONDS: Final = Family(
    "payymo_duties_last_duration_seconds",
    "gauge",
    "How long the last round of this node took.",
    mode="mostrecent",
    starts_at_zero=False,
)
LISTENER_EXPIRY: Final = Family(
    "payymo_listener_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the certificate expires that this node's listener shows, in seconds since 1970.",
    mode="livemostrecent",
    starts_at_zero=False,
)

COUNTED: Final = (
    EVENTS_TOTAL,
    REQUESTS_TOTAL,
    REQUEST_SECONDS,
    LIMITED_TOTAL,
    DELIVERY_SECONDS,
    WEBHOOKS_TOTAL,
    HASHES,
    HASHES_SHED_TOTAL,
    CONNECTIONS,
    POOL_SIZE,
    WORKERS,
    WORKER_STARTS_TOTAL,
    DUTIES_LEADER,
    DUTIES_INTERVAL,
    DUTIES_ROUNDS_TOTAL,
    DUTIES_LAST,
    DUTIES_SECONDS,
    LISTENER_EXPIRY,
)
"""What processes write down while they work."""

BUILD: Final = Family(
    "payymo_build_info", "gauge", "1; the labels say which version runs.", {"version": None, "python": None}
)
DATABASE_UP: Final = Family(
    "payymo_database_up", "gauge", "1 while the database answers; on 0, what is read from it is as it was."
)
HEALTH: Final = Family(
    "payymo_health",
    "gauge",
    "1 for how a check of this node stands, as /health/ready has it, 0 for how it does not.",
    {"check": frozenset(health.NAMES), "state": frozenset(health.STANDINGS)},
)
DATABASE_READ: Final = Family(
    "payymo_database_read_timestamp_seconds",
    "gauge",
    "When the facts were read from the database that stand here, in seconds since 1970.",
)
CERTIFICATE_EXPIRY: Final = Family(
    "payymo_certificate_expiry_timestamp_seconds",
    "gauge",
    "The last second at which a certificate of the store and all of its chain is valid, in seconds since 1970.",
    _CERTIFICATE,
)
CERTIFICATE_VALID: Final = Family(
    "payymo_certificate_valid",
    "gauge",
    "1 while a certificate of the store is valid; 0 before its first and after its last second.",
    _CERTIFICATE,
)
KEYS: Final = Family(
    "payymo_signing_keys",
    "gauge",
    "Signing keys, by what they sign and their state.",
    {"purpose": _PURPOSE, "state": _KEY_STATE},
)
KEY_CREATED: Final = Family(
    "payymo_signing_key_created_timestamp_seconds",
    "gauge",
    "When the oldest key in this state was made, in seconds since 1970.",
    {"purpose": _PURPOSE, "state": _KEY_STATE},
)
KEY_ACTIVATED: Final = Family(
    "payymo_signing_key_activated_timestamp_seconds",
    "gauge",
    "Since when the active key signs, in seconds since 1970.",
    {"purpose": _PURPOSE},
)
KEY_CHANGES: Final = Family(
    "payymo_signing_key_next_change_timestamp_seconds",
    "gauge",
    "When the calendar rotates the active key (if it may), and when it retires the next retiring one, "
    "in seconds since 1970.",
    {"purpose": _PURPOSE, "state": frozenset({"active", "retiring"})},
)
FEED_POSITION: Final = Family("payymo_feed_position", "gauge", "The number of the newest entry of the revocation feed.")
FEED_LAST: Final = Family(
    "payymo_feed_last_entry_timestamp_seconds",
    "gauge",
    "When the newest entry of the revocation feed was made, in seconds since 1970; absent when it has expired.",
)
FOLLOWERS: Final = Family(
    "payymo_feed_followers",
    "gauge",
    "Who follows the revocation feed, by how well.",
    {"state": frozenset(STANDINGS)},
)
WEBHOOKS_FAILING: Final = Family(
    "payymo_webhook_endpoints_failing",
    "gauge",
    "Endpoints whose last attempt failed, with those that were disabled for it.",
)
WEBHOOKS_OLDEST: Final = Family(
    "payymo_webhook_oldest_waiting_timestamp_seconds",
    "gauge",
    "Since when the oldest event waits that an enabled endpoint has not got, in seconds since 1970; absent: none does.",
)
AUDIT_EVENTS: Final = Family(
    "payymo_audit_events",
    "gauge",
    "Events that have a position in the audit log: the platform's, and those of all tenants.",
    {"log": frozenset({"platform", "tenants"})},
)
AUDIT_WAITING: Final = Family(
    "payymo_audit_waiting_events", "gauge", "Events that have been committed and have no position yet."
)
AUDIT_OLDEST: Final = Family(
    "payymo_audit_oldest_waiting_timestamp_seconds",
    "gauge",
    "When the oldest event happened that has no position yet, in seconds since 1970; absent when none waits.",
)
AUDIT_UNSIGNED: Final = Family(
    "payymo_audit_unsigned_events", "gauge", "Events that are in no signed checkpoint of their log yet."
)
AUDIT_SIGNED: Final = Family(
    "payymo_audit_newest_checkpoint_timestamp_seconds",
    "gauge",
    "When the newest checkpoint of any log was signed, in seconds since 1970; absent before the first.",
)
AUDIT_DAMAGED: Final = Family(
    "payymo_audit_damaged_logs", "gauge", "Logs whose stored tree was changed: they do not grow until somebody looks."
)
AUDIT_BEHIND: Final = Family(
    "payymo_audit_destination_behind_logs",
    "gauge",
    "Logs whose newest checkpoint has not arrived at a destination.",
    {"destination": None},
)
AUDIT_BEHIND_SINCE: Final = Family(
    "payymo_audit_destination_behind_timestamp_seconds",
    "gauge",
    "When the oldest of these checkpoints was signed, in seconds since 1970; absent when a destination has them all.",
    {"destination": None},
)

READ: Final = (
    BUILD,
    DATABASE_UP,
    HEALTH,
    DATABASE_READ,
    CERTIFICATE_EXPIRY,
    CERTIFICATE_VALID,
    KEYS,
    KEY_CREATED,
    KEY_ACTIVATED,
    KEY_CHANGES,
    FEED_POSITION,
    FEED_LAST,
    FOLLOWERS,
    WEBHOOKS_FAILING,
    WEBHOOKS_OLDEST,
    AUDIT_EVENTS,
    AUDIT_WAITING,
    AUDIT_OLDEST,
    AUDIT_UNSIGNED,
    AUDIT_SIGNED,
    AUDIT_DAMAGED,
    AUDIT_BEHIND,
    AUDIT_BEHIND_SINCE,
)
"""What the process that is asked knows, or reads from the database: all nodes tell the same."""
