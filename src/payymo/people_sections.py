"""The groups of settings about people: how they register, prove themselves, and are written to."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from payymo.sections import PAGE, Network, Section


class Lockout(Section):
    """Whoever tries passwords in vain has to wait, right password or not; known devices don't wait for strangers."""

    enabled: bool = True
    failures: int = Field(default=5, ge=1, le=100)
    """Failures of an account before its waits begin."""
    first_wait_seconds: int = Field(default=30, ge=1, le=3600)
    """The first wait; each further one is twice as long."""
    longest_wait_seconds: int = Field(default=3600, ge=1, le=86_400)
    stop: int = Field(default=100, ge=2, le=100)
    """Failures of an account that stop it, until somebody unlocks it (NIST SP 800-63B §3.2.2)."""
    device_failures: int = Field(default=10, ge=1, le=100)
    """Failures in a row after which a known device is unknown."""
    network_accounts: int = Field(default=50, ge=0, le=100_000)
    """Accounts that a /24 or /48 may try in vain within `network_seconds`; 0: any number."""
    network_seconds: int = Field(default=3600, ge=60, le=86_400)
    tenant_failures: int = Field(default=1000, ge=0, le=10_000_000)
    """Logins of a tenant that may fail within `tenant_seconds`; 0: any number."""
    tenant_seconds: int = Field(default=600, ge=60, le=86_400)

    @model_validator(mode="after")
    def _steps_follow_each_other(self) -> Self:
        if self.failures >= self.stop:
            raise ValueError("failures < stop has to hold")
        if self.first_wait_seconds > self.longest_wait_seconds:
            raise ValueError("first_wait_seconds <= longest_wait_seconds has to hold")
        return self


class Passwords(Section):
    """What is asked of new passwords where a tenant has no policy of its own, and what their hashes cost."""

    profile: Literal["standard", "strict"] = "standard"
    min_length: int | None = Field(default=None, ge=10, le=64)
    """Without it, the profile's: 12, or 15 in the strict one."""
    max_length: int = Field(default=128, ge=64, le=256)
    min_score: int = Field(default=3, ge=0, le=4)
    complexity_classes: int = Field(default=0, ge=0, le=4)
    words: tuple[Annotated[str, Field(min_length=3, max_length=50)], ...] = Field(default=(), max_length=100)
    argon2_memory_kib: int = 19_456
    argon2_iterations: int = 2
    """Both are held to OWASP's lines for Argon2id (see `payymo.users.hashes`)."""


class Console(Section):
    """The pages for people: whether there are any, and how long one stays signed in."""

    enabled: bool = True
    idle_seconds: int = Field(default=3_600, ge=60, le=86_400)
    """How long a browser stays signed in unused."""
    session_seconds: int = Field(default=12 * 3_600, ge=300, le=30 * 86_400)
    """How long it does at most."""

    @model_validator(mode="after")
    def _lives_nest(self) -> Self:
        if self.idle_seconds > self.session_seconds:
            raise ValueError("idle_seconds <= session_seconds has to hold")
        return self


class Impersonation(Section):
    """Administrators who may, act as somebody else."""

    seconds: int = Field(default=900, ge=60, le=3_600)
    """For how long at most, from the start."""


class Registration(Section):
    """Who may register."""

    enabled: bool = True
    verify_email: Literal["off", "required"] = "off"
    """`required`: nobody logs in before a link has shown that the address is theirs."""


class Mail(Section):
    """How mail is sent. Without a host, and without another transport, none is."""

    transport: str | None = Field(default=None, pattern=r"^(?:smtp|console|file:/.+)$")
    """`smtp`, where a host is set; `console` and `file:/folder` are for development."""
    host: str | None = Field(default=None, min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["starttls", "implicit", "off"] = "starttls"
    ca_file: Path | None = None
    """The authority of the server's certificate, where the system does not know it."""
    user: str | None = None
    password: SecretStr | None = None
    sender: str | None = None
    sender_name: str = "Payymo"
    timeout_seconds: int = Field(default=10, ge=1, le=60)
    """How long the server may take for one answer."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.way == "smtp" and (self.host is None or self.sender is None):
            raise ValueError("host and sender have to be set, both of them, for mail to be sent by SMTP")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password: both or neither")
        return self

    @property
    def way(self) -> str | None:
        """The transport in effect; None: no mail is sent."""
        return self.transport or ("smtp" if self.host else None)

    @property
    def port_in_effect(self) -> int:
        """The server's port: submission, with TLS from the start or later (RFC 8314), or plain SMTP."""
        return self.port or {"starttls": 587, "implicit": 465, "off": 25}[self.tls]


class Webhooks(Section):
    """Where events are sent to, beside public addresses, and who certifies the receivers."""

    allow_private: tuple[Network, ...] | None = None
    """Networks inside, to which events may be sent. None: the loopback in development, none in production."""
    ca_file: Path | None = None
    """An authority of receivers' certificates, beside those that the system knows."""


class Links(Section):
    """Where one-time links lead. Never to where a request says that it came to."""

    base_url: str | None = None
    """Without it, the issuer."""
    verify_email: str | None = None
    change_email: str | None = None
    reset_password: str | None = None
    unlock: str | None = None
    verify_seconds: int = Field(default=86_400, ge=300, le=7 * 86_400)
    """How long a link is good that verifies an address, or follows a forced reset."""
    reset_seconds: int = Field(default=3_600, ge=300, le=86_400)
    """How long a link is good that resets a password or unlocks an account."""

    @field_validator("base_url", "verify_email", "change_email", "reset_password", "unlock")
    @classmethod
    def _is_a_page(cls, value: str | None) -> str | None:
        if value is not None and PAGE.fullmatch(value) is None:
            raise ValueError("write https://HOST/PATH, without query and fragment: the token stands in the fragment")
        return value
