"""When a try at a password is admitted: the state of an account as a machine, and what stands beside it. Pure.

A try is counted before the password is looked at, as if it had failed; a success takes it back. So however many come at
once, no more of them are admitted than the policy says.
"""

import base64
import hashlib
import ipaddress
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

DAY_SECONDS: Final = 86_400
FORGET_SECONDS: Final = 30 * DAY_SECONDS
"""After so long without a try an account's failures are forgotten; after a day, as long as they cost no wait."""
DEVICES_AT_MOST: Final = 10
"""Devices of one user; the one that was not used for longest gives way."""
DEVICE_SECONDS: Final = 365 * DAY_SECONDS
TOKENS_AT_MOST: Final = 5
"""Users of one browser whose devices its cookie keeps."""
TOKEN_BYTES: Final = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

Step = Literal["wait", "stop"]
"""What begins with a failure: a wait, or the stop that somebody has to end."""


@dataclass(frozen=True, slots=True)
class GuessingPolicy:
    """How many failures are free, and what the others cost. Times in seconds."""

    failures: int = 5
    """Failures of an account before its waits begin."""
    first_wait_seconds: int = 30
    longest_wait_seconds: int = 3600
    stop: int = 100
    """Failures of an account after which nobody but a known device is admitted."""
    device_failures: int = 10
    """Failures in a row after which a known device is unknown."""
    network_accounts: int = 50
    """Accounts that a neighbourhood may try in vain within `network_seconds`; 0: any number."""
    network_seconds: int = 3600
    tenant_failures: int = 1000
    """Logins of a tenant that may fail within `tenant_seconds`; 0: any number."""
    tenant_seconds: int = 600

    def wait_after(self, failures: int) -> int:
        """The wait that so many failures end in: none, the first one, twice that …, the longest one."""
        if failures < self.failures:
            return 0
        doublings = min(failures - self.failures, 32)  # more is longer than anything
        return min(self.first_wait_seconds << doublings, self.longest_wait_seconds)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an account: how often it was tried in vain, and until when nobody is admitted."""

    failures: int = 0
    wait_until: int = 0
    expires_at: int | None = 0
    """When this is forgotten. None: never, it is stopped."""

    def at(self, now: int) -> "Standing":
        """The same, unless it is forgotten by now."""
        return Standing() if self.expires_at is not None and self.expires_at <= now else self


@dataclass(frozen=True, slots=True)
class Admitted:
    """The try may go on. It is counted in `standing` already."""

    standing: Standing
    began: Step | None
    """What begins if it fails."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The try is over before the password was looked at."""

    retry_after: int


def decide(standing: Standing, now: int, policy: GuessingPolicy) -> Admitted | Refused:
    """What comes of a try at `now`. It is admitted once `wait_until` is reached."""
    standing = standing.at(now)
    if standing.failures >= policy.stop:
        return Refused(policy.longest_wait_seconds)
    if now < standing.wait_until:
        # A clock that went back makes no wait longer than it was.
        return Refused(min(standing.wait_until - now, policy.wait_after(standing.failures) or 1))
    counted = _standing(standing.failures + 1, now, policy)
    began: Step | None = "stop" if counted.expires_at is None else "wait" if counted.wait_until > now else None
    return Admitted(counted, began)


def succeed(standing: Standing, *, own_try: int, own_failures: int, now: int, policy: GuessingPolicy) -> Standing:
    """After a login: without its own try, without what failed before from the same network, and without a wait.

    `own_try`: 1, or 0 when it was not counted here. What others tried in vain stays counted: an owner who logs in gives
    strangers no new tries (NIST SP 800-63B §3.2.2). A stop stays, too, for somebody to end.
    """
    standing = standing.at(now)
    others = max(0, standing.failures - own_try)
    if others >= policy.stop:
        return standing
    left = _standing(max(0, others - own_failures), now, policy)
    return Standing(left.failures, 0, left.expires_at)


def give_back(standing: Standing, counted: int, *, now: int, policy: GuessingPolicy) -> Standing:
    """After a try that came to nothing, because the password was never looked at.

    `counted`: the failures with it. When nobody came after it, the next one need not wait.
    """
    left = _standing(max(0, standing.failures - 1), now, policy)
    return Standing(left.failures, 0 if standing.failures == counted else standing.wait_until, left.expires_at)


def _standing(failures: int, now: int, policy: GuessingPolicy) -> Standing:
    if failures >= policy.stop:
        return Standing(failures, 0, None)
    wait = policy.wait_after(failures)
    return Standing(failures, now + wait if wait else 0, now + (FORGET_SECONDS if wait else DAY_SECONDS))


def neighbourhood(network: str) -> str:
    """The network around an address or a /64: its /24, or its /48. Itself, when it is neither."""
    try:
        whole = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return network
    return str(whole.supernet(new_prefix=24 if whole.version == 4 else 48))


@dataclass(frozen=True, slots=True)
class Origin:
    """One login, before the password is looked at: at which account, from where, from which devices."""

    account: str
    """The key of the account: the same whether it exists or not."""
    email_key: str
    """The address in the form in which it is compared; `-` when it is none."""
    network: str
    """The address, or the /64 of it."""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    user_id: uuid.UUID | None = None
    """Whose password it is, where they are logged in. None: who that is, is looked up when they are to hear of it."""

    @property
    def reason(self) -> str | None:
        """Of a wait: that somebody tries the present password of the account that they are logged in to."""
        return None if self.user_id is None else "logged-in"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was admitted, for whoever settles it."""

    tenant_id: uuid.UUID
    origin: Origin
    counted: int = 0
    """The account's failures with this one. 0: it is not counted there."""
    began: Step | None = None
    waited: bool = False
    """It is the first one after a wait that is over."""
    device: str | None = field(default=None, repr=False)
    """The token of the known device that it comes from."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a user is to hear of: that a wait, or the stop, has begun."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID
    kind: Step


def read_tokens(text: str | None) -> tuple[str, ...]:
    """The tokens in a cookie; none when it has another shape."""
    parts = (text or "").split(".", TOKENS_AT_MOST)
    return tuple(parts) if len(parts) <= TOKENS_AT_MOST and all(map(_TOKEN.fullmatch, parts)) else ()


def write_tokens(token: str, others: Sequence[str]) -> str:
    """The cookie that holds this token before the others."""
    return ".".join([token, *(other for other in others if other != token)][:TOKENS_AT_MOST])


def make_token(random: bytes) -> str:
    """A token from 32 random bytes."""
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()


def digest(token: str) -> str:
    """What is kept of a token. It is 256 random bits: nothing that a slow hash would protect."""
    return hashlib.sha256(token.encode()).hexdigest()
