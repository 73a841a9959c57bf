"""What the settings come to for each capability: small frozen policies, which know nothing of settings."""

import sys
from pathlib import Path

from payymo.attempts.model import GuessingPolicy
from payymo.audit.destinations import Destination, Token, open_destination
from payymo.audit.notes import VerifierKey
from payymo.audit.refusals import Refused
from payymo.certificates.model import CertificatePolicy
from payymo.clock import Clock
from payymo.config import Settings, reveal
from payymo.entropy import Entropy
from payymo.errors import InvalidInput, Misconfigured
from payymo.keys.model import Calendar, KeyPolicy
from payymo.keys.places import require_place
from payymo.limits.limiter import LimitPolicy
from payymo.limits.model import Tier, parse_limits
from payymo.links.model import LinkKind, LinkPolicy
from payymo.mail.model import DEFAULT_ADDRESS, MailPolicy, Sender
from payymo.mail.transports import (
    ConsoleTransport,
    FolderTransport,
    NoTransport,
    SmtpAccess,
    SmtpTransport,
    Transport,
)
from payymo.people_sections import Lockout, Mail
from payymo.sections import Limits
from payymo.sessions.browser import BrowserPolicy
from payymo.sessions.impersonation import ImpersonationPolicy
from payymo.sessions.model import RefreshPolicy
from payymo.spans import TracingPolicy
from payymo.tokens import TokenPolicy
from payymo.users.hashes import Argon2Cost
from payymo.users.password_policy import PROFILES, PasswordPolicy
from payymo.webhooks.sender import Sender as WebhookSender
from payymo.webhooks.targets import AddressPolicy


def key_policy(settings: Settings) -> KeyPolicy:
    """Which keys sign, and when they change. Raises Misconfigured: a place that is none."""
    tokens = settings.tokens
    return KeyPolicy(
        tokens.algorithm,
        tokens.refresh_algorithm,
        tokens.access_ttl_seconds,
        tokens.session_ttl_seconds,
        Calendar(settings.keys.rotate_every_seconds, settings.keys.jwks_max_age_seconds),
        require_place(settings.keys.access_at, "PAYYMO_KEYS__ACCESS_AT"),
        require_place(settings.keys.refresh_at, "PAYYMO_KEYS__REFRESH_AT"),
    )


def certificate_policy(settings: Settings) -> CertificatePolicy:
    """When certificates change."""
    given = settings.certificates
    return CertificatePolicy(given.activate_before_seconds, given.overlap_seconds, settings.is_production)


def token_policy(settings: Settings) -> TokenPolicy:
    """What every token says about itself."""
    return TokenPolicy(
        settings.issuer, settings.audience, settings.refresh_audience, settings.tokens.access_ttl_seconds
    )


def refresh_policy(settings: Settings) -> RefreshPolicy:
    """How long refresh tokens and sessions live."""
    tokens = settings.tokens
    return RefreshPolicy(
        tokens.refresh_ttl_seconds, tokens.session_ttl_seconds, tokens.grace_seconds, tokens.grace_replays
    )


def guessing_policy(lockout: Lockout) -> GuessingPolicy | None:
    """What guessing costs; None: nothing."""
    return GuessingPolicy(**lockout.model_dump(exclude={"enabled"})) if lockout.enabled else None


def password_policy(settings: Settings) -> PasswordPolicy:
    """What is asked of new passwords where a tenant has no policy of its own."""
    given = settings.passwords
    return PasswordPolicy(
        given.min_length or PROFILES[given.profile].min_length,
        given.max_length,
        given.min_score,
        given.complexity_classes,
        given.words,
    )


def password_cost(settings: Settings) -> Argon2Cost:
    """What new hashes cost. Raises Misconfigured: less than OWASP asks for."""
    try:
        return Argon2Cost(settings.passwords.argon2_memory_kib, settings.passwords.argon2_iterations)
    except ValueError as error:
        raise Misconfigured([f"PAYYMO_PASSWORDS__ARGON2_MEMORY_KIB, __ARGON2_ITERATIONS: {error}"]) from None


def limit_policy(limits: Limits) -> LimitPolicy:
    """Which limits there are."""
    tiers: dict[Tier, str] = {}
    if limits.enabled:
        tiers |= {
            "login": limits.login,
            "refresh": limits.refresh,
            "verify": limits.verify,
            "registration": limits.registration,
            "default": limits.default,
            "mail": limits.mail,
            "service": limits.service,
        }
    return LimitPolicy({tier: parse_limits(text) for tier, text in tiers.items()}, limits.fallback_percent)


def tracing_policy(settings: Settings) -> TracingPolicy | None:
    """Where spans go; None: nowhere."""
    given = settings.tracing
    if given.endpoint is None:
        return None
    return TracingPolicy(
        given.endpoint,
        {name: value.get_secret_value() for name, value in given.headers.items()},
        given.ca_file,
        given.service_name,
        given.sample_percent / 100,
        given.accept_from,
    )


def browser_policy(settings: Settings) -> BrowserPolicy:
    """How long somebody stays signed in in a browser."""
    return BrowserPolicy(settings.console.session_seconds, settings.console.idle_seconds)


def impersonation_policy(settings: Settings) -> ImpersonationPolicy:
    """For how long an administrator acts as somebody else."""
    return ImpersonationPolicy(settings.impersonation.seconds, settings.tokens.access_ttl_seconds)


def link_policy(settings: Settings) -> LinkPolicy:
    """Where one-time links lead: by configuration alone."""
    given = settings.links
    base = (given.base_url or settings.issuer).rstrip("/")
    pages: dict[LinkKind, str] = {
        "verify-email": given.verify_email or f"{base}/verify-email",
        "change-email": given.change_email or f"{base}/change-email",
        "reset-password": given.reset_password or f"{base}/reset-password",
        "unlock": given.unlock or f"{base}/unlock",
    }
    live: dict[LinkKind, int] = {
        "verify-email": given.verify_seconds,
        "change-email": given.verify_seconds,
        "reset-password": given.reset_seconds,
        "unlock": given.reset_seconds,
    }
    return LinkPolicy(pages, live)


def mail_policy(mail: Mail) -> MailPolicy:
    """Whether mail is sent, and in whose name. Raises Misconfigured."""
    try:
        sender = Sender(mail.sender or DEFAULT_ADDRESS, mail.sender_name)
    except InvalidInput as error:
        named = {"/address": "SENDER", "/name": "SENDER_NAME"}
        raise Misconfigured([f"PAYYMO_MAIL__{named[one.pointer]}: {one.detail}" for one in error.errors]) from None
    # An attempt speaks to the server a dozen times at most, and may wait each time.
    return MailPolicy(mail.way is not None, sender, claim_seconds=max(60, 15 * mail.timeout_seconds))


def mail_transport(mail: Mail, entropy: Entropy) -> Transport:
    """What takes mail over. Raises Misconfigured."""
    match mail.way:
        case None:
            return NoTransport()
        case "console":
            return ConsoleTransport(sys.stderr)
        case "smtp":
            return _smtp(mail)
        case folder:
            return FolderTransport(Path(folder.removeprefix("file:")), entropy)


def webhook_sender(settings: Settings, clock: Clock, entropy: Entropy) -> WebhookSender:
    """What sends events, and to where. Raises Misconfigured."""
    policy = AddressPolicy(settings.webhooks_allowed, allows_http=not settings.is_production)
    try:
        return WebhookSender(clock, entropy, policy=policy, ca_file=settings.webhooks.ca_file)
    except OSError:
        raise Misconfigured(["PAYYMO_WEBHOOKS__CA_FILE: can't be read as certificates in PEM"]) from None


def _smtp(mail: Mail) -> SmtpTransport:
    access = SmtpAccess(
        host=mail.host or "",
        port=mail.port_in_effect,
        tls=mail.tls,
        user=mail.user,
        password=reveal(mail.password) or "",
        ca_file=mail.ca_file,
        timeout_seconds=mail.timeout_seconds,
    )
    try:
        return SmtpTransport(access)
    except OSError:
        raise Misconfigured(["PAYYMO_MAIL__CA_FILE: can't be read as certificates in PEM"]) from None


def checkpoint_destinations(settings: Settings, token: Token) -> tuple[Destination, ...]:
    """Where checkpoints go. `token`: what receivers want. Raises Misconfigured with every reason."""
    given, found, reasons = settings.audit, [], []
    try:
        keys = [VerifierKey.parse(text) for text in given.witness_keys]
    except Refused as refusal:
        raise Misconfigured([f"PAYYMO_AUDIT__WITNESS_KEYS: {refusal}"]) from None
    for uri in dict.fromkeys(given.checkpoints_to):
        try:
            found.append(
                open_destination(
                    uri,
                    ca_file=given.ca_file,
                    timeout_seconds=given.timeout_seconds,
                    witness_keys=keys,
                    token=token,
                )
            )
        except ValueError as error:
            reasons.append(f"PAYYMO_AUDIT__CHECKPOINTS_TO: {uri!r}: {error}")
        except OSError:
            reasons.append("PAYYMO_AUDIT__CA_FILE: can't be read as certificates in PEM")
    if reasons:
        raise Misconfigured(list(dict.fromkeys(reasons)))
    return tuple(found)
