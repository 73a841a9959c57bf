"""The groups of settings: typed, frozen, unknown members refused. `payymo.config` reads them."""

import ipaddress
import re
from pathlib import Path
from typing import Final, Literal, Self

from limits import parse_many
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
_ORIGIN = re.compile(
    r"https?://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
)
MOST: Final = 2**31 - 1
"""What a limit can be, in tries and in seconds."""
PAGE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?")
"""A page, or whatever else has an address without query and fragment."""
_NAME = r"(?!\.+(?:/|$))[A-Za-z0-9_.-]+"  # no dots alone: they would mean another one
_NAMESPACE = re.compile(rf"{_NAME}(?:/{_NAME})*/?")


class Section(BaseModel):
    """A group of settings: frozen, unknown members refused."""

    # What checks a group is built into what checks all settings: one for the group alone would not be used.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Database(Section):
    """Where the data lives. Without a URL: SQLite in the data folder."""

    url: SecretStr | None = None
    owner_url: SecretStr | None = None
    """For `payymo db …` alone: the role that owns the tables. The service itself never uses it."""
    pool_size: int = Field(default=10, ge=1, le=200)
    timeout_seconds: int = Field(default=5, ge=1, le=60)


class Redis(Section):
    """Redis or Valkey, for rate limits that hold over several nodes."""

    url: SecretStr | None = None


class Vault(Section):
    """HashiCorp Vault, for secrets and master keys whose URI begins with `vault:`."""

    address: str | None = None
    token: SecretStr | None = None
    """The token, or `file:/path` of a file where Vault Agent keeps one: it is read for each request."""
    namespace: str | None = None
    ca_file: Path | None = None
    """The authority of its certificate, where the system does not know it."""
    timeout_seconds: int = Field(default=4, ge=1, le=4)
    """For the whole of a request. A request may be made twice, after a 403, inside of a transaction, and PostgreSQL
    ends transactions that are silent for ten seconds (see `payymo.db.work`)."""

    @field_validator("address")
    @classmethod
    def _is_an_origin(cls, value: str | None) -> str | None:
        if value is not None and not _is_origin(value):
            raise ValueError("write https://HOST or https://HOST:PORT, with nothing behind it, not even a slash")
        return value

    @field_validator("namespace")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is not None and _NAMESPACE.fullmatch(value) is None:
            raise ValueError("write names of letters, digits, dots, dashes and underscores, with slashes between them")
        return value


class Pkcs11(Section):
    """A hardware token, for keys whose URI begins with `pkcs11:`."""

    module: Path | None = None
    """The library that its maker gives out, such as /usr/lib/softhsm/libsofthsm2.so."""
    pin: SecretStr | None = None


class Server(Section):
    """The HTTP listener of `payymo serve`."""

    host: str = "127.0.0.1"
    port: int = Field(default=5000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    nodes: int = Field(default=1, ge=1, le=1000)
    """How many machines serve together. More than one needs a rate-limit store that they share."""
    threads: int = Field(default=8, ge=1, le=256)
    tls_certificate: str | None = None
    """A file with the server's certificate chain in PEM, or `certificate:NAME` of the store.

    Another one in its place is taken up by itself.
    """
    tls_key: Path | None = None
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    request_seconds: int = Field(default=10, ge=1, le=300)
    """How long a client may take to send the head of a request, and then its body."""
    followers: int = Field(default=4096, ge=1, le=100_000)
    """How many requests each worker leaves waiting for the revocation feed. One more is answered at once."""
    maintenance_seconds: int = Field(default=60, ge=1, le=3600)
    """How often due duties are looked for."""


class Tokens(Section):
    """How long tokens live, and what signs them."""

    algorithm: Algorithm = "RS256"
    refresh_algorithm: Literal["ES256", "EdDSA"] = "ES256"
    access_ttl_seconds: int = Field(default=900, ge=30, le=86_400)
    refresh_ttl_seconds: int = Field(default=7 * 86_400, ge=60, le=365 * 86_400)
    session_ttl_seconds: int = Field(default=30 * 86_400, ge=60, le=3 * 365 * 86_400)
    grace_seconds: int = Field(default=10, ge=0, le=60)
    grace_replays: int = Field(default=3, ge=0, le=20)

    @model_validator(mode="after")
    def _lives_nest(self) -> Self:
        if not self.access_ttl_seconds < self.refresh_ttl_seconds <= self.session_ttl_seconds:
            raise ValueError("access_ttl_seconds < refresh_ttl_seconds <= session_ttl_seconds has to hold")
        return self


class Keys(Section):
    """When signing keys change. Each is published for `jwks_max_age_seconds` before it signs."""

    rotate_automatically: bool = True
    rotate_every_seconds: int = Field(default=30 * 86_400, ge=2)
    jwks_max_age_seconds: int = Field(default=300, ge=1, le=86_400)
    """How long verifiers may keep the published keys."""
    access_at: str = "database:"
    """Where new private keys of access tokens are put: `database:`, `file:/folder`, `pkcs11:token=NAME`."""
    refresh_at: str = Field(default="database:", pattern="^(database:$|file:/)")
    """The same for refresh tokens. Not in a hardware token: a retry gets the same text only if the same signature
    comes out again (RFC 6979), and those sign with random numbers."""

    @model_validator(mode="after")
    def _leaves_time_to_publish(self) -> Self:
        if self.rotate_every_seconds <= self.jwks_max_age_seconds:
            raise ValueError("jwks_max_age_seconds < rotate_every_seconds has to hold")
        return self


class Certificates(Section):
    """When a certificate takes the place of the one before it."""

    activate_before_seconds: int = Field(default=7 * 86_400, ge=0, le=365 * 86_400)
    """How long before the end of the active one, unless the import says when."""
    overlap_seconds: int = Field(default=7 * 86_400, ge=60, le=365 * 86_400)
    """How long the one before is still accepted."""


class Limits(Section):
    """Rate limits by route class, as `5/hour;20/day`. An empty value lifts that class."""

    enabled: bool = True
    store: Literal["auto", "database", "redis", "memory"] = "auto"
    """`auto`: Redis where `PAYYMO_REDIS__URL` is set, otherwise the database."""
    login: str = "10/minute"
    refresh: str = "20/minute"
    verify: str = "30/minute"
    registration: str = "5/hour;20/day"
    default: str = "120/minute"
    mail: str = "5/hour;20/day"
    """Letters to one address that anybody may ask for (registration, reset), or by one user (change of address)."""
    service: str = "30000/minute"
    """Per service credential. A busy feed answers each guard up to ten times a second."""
    fallback_percent: int = Field(default=25, ge=1, le=100)
    """The share of each limit that every process grants on its own while the shared counters don't answer."""

    @field_validator("login", "refresh", "verify", "registration", "default", "mail", "service")
    @classmethod
    def _parses(cls, value: str) -> str:
        if value:
            try:
                found = parse_many(value)
            except ValueError as error:
                raise ValueError("write limits like 10/minute or 5/hour;20/day") from error
            if any(max(item.amount, item.get_expiry()) > MOST for item in found):  # more can't be taken down
                raise ValueError(f"at most {MOST} tries, in as many seconds; an empty value lifts the class")
        return value


class Metrics(Section):
    """Where the metrics are read, if anywhere."""

    bind: str | None = None
    """`ADDRESS:PORT`. An address and no name, and never only a port: it has to be said who may reach them."""

    @field_validator("bind")
    @classmethod
    def _is_an_address_and_a_port(cls, value: str | None) -> str | None:
        if value is not None and _address_and_port(value) is None:
            raise ValueError("write 127.0.0.1:9464 or [::1]:9464: an address of this machine and a port")
        return value

    @property
    def address(self) -> tuple[str, int] | None:
        """Address and port."""
        return None if self.bind is None else _address_and_port(self.bind)


class Tracing(Section):
    """Where spans of requests are sent by OTLP/HTTP, if anywhere. Needs the extra `otel`."""

    endpoint: str | None = None
    """The whole URL, such as https://collector.example:4318/v1/traces."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """What the collector asks for, such as a key."""
    ca_file: Path | None = None
    service_name: str = Field(default="payymo", min_length=1, max_length=100)
    sample_percent: float = Field(default=100.0, ge=0.0, le=100.0)
    accept_from: tuple[Network, ...] = ()
    """Whose `traceparent` is believed."""

    @field_validator("endpoint")
    @classmethod
    def _is_a_page(cls, value: str | None) -> str | None:
        if value is not None and PAGE.fullmatch(value) is None:
            raise ValueError("write https://HOST:4318/v1/traces, without query and fragment")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.endpoint is None and self.model_fields_set:
            raise ValueError("endpoint has to be set for anything to be traced")
        return self


class Audit(Section):
    """How long what happened stays on record, and where checkpoints of the log go, so that they are not only there."""

    keep_days: int | None = Field(default=None, ge=1, le=36_500)
    """Without it, for ever. A tenant's log may have a time of its own."""
    checkpoints_to: tuple[str, ...] = Field(default=(), max_length=20)
    """`file:/path`, `https://HOST/PATH`, `witness+https://HOST/PATH`."""
    witness_keys: tuple[str, ...] = Field(default=(), max_length=20)
    """Of the witnesses, as they publish them: `name+id+base64`."""
    bearer_secret: str | None = None
    """The name of a secret of the service: what HTTPS receivers want as a bearer token."""
    ca_file: Path | None = None
    """The authority of the certificates of receivers and witnesses, where the system does not know it."""
    every_seconds: int = Field(default=10, ge=1, le=86_400)
    """How often at most a checkpoint of the same log goes to the same place."""
    timeout_seconds: int = Field(default=10, ge=1, le=60)


class Feed(Section):
    """Who may follow the revocation feed."""

    open_to: tuple[Network, ...] | None = None
    """Networks from which no service credential is needed. None: the loopback in development, nobody in production."""


def _is_origin(value: str) -> bool:
    """A scheme, a host and perhaps a port, in the form that every reader of URLs takes for the same."""
    found = _ORIGIN.fullmatch(value)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 65536):
        return False
    try:
        return found["v6"] is None or bool(ipaddress.IPv6Address(found["v6"]))
    except ValueError:
        return False


def _address_and_port(value: str) -> tuple[str, int] | None:
    host, _, port = value.rpartition(":")
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(inner)
    except ValueError:
        return None
    is_sound = (address.version == 6) == (inner != host) and re.fullmatch("[0-9]{1,5}", port) is not None
    return (str(address), int(port)) if is_sound and 0 < int(port) < 65536 else None
