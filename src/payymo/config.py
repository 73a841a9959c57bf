"""The settings: typed, frozen, read once from `PAYYMO_…` variables and a folder of secret files.

Nested members are written with two underscores: `PAYYMO_LIMITS__LOGIN=20/minute`. A file in `PAYYMO_SECRETS_DIR` bears
the same name in small letters and holds the value. Unknown names are refused, so that a misspelt setting can't be
silently without effect. What production refuses is decided in `payymo.production`.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from payymo.errors import Misconfigured
from payymo.files import require_private, require_private_folder

PREFIX = "PAYYMO_"
FOREIGN = ("PAYYMO_TEST_",)
"""Names that the test suite reads; the service ignores them."""
SWITCHES = ("PAYYMO_SECRETS_DIR",)
"""Names that say where the settings are, and so can't be settings themselves."""

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ORIGIN = re.compile(
    r"https?://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
)
_NAME = r"(?!\.+(?:/|$))[A-Za-z0-9_.-]+"  # no dots alone: they would mean another one
_NAMESPACE = re.compile(rf"{_NAME}(?:/{_NAME})*/?")


class Section(BaseModel):
    """A group of settings: frozen, unknown members refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    fallback_percent: int = Field(default=25, ge=1, le=100)
    """The share of each limit that every process grants on its own while the shared counters don't answer."""

    @field_validator("login", "refresh", "verify", "registration", "default")
    @classmethod
    def _parses(cls, value: str) -> str:
        if value:
            try:
                parse_many(value)
            except ValueError as error:
                raise ValueError("write limits like 10/minute or 5/hour;20/day") from error
        return value


class Lockout(Section):
    """After too many failed logins an account refuses further tries for a while, right password or not."""

    enabled: bool = True
    failures: int = Field(default=30, ge=5, le=10_000)
    window_seconds: int = Field(default=3600, ge=60, le=86_400)


class Registration(Section):
    """Who may register."""

    enabled: bool = True
    verify_email: Literal["off"] = "off"
    """`required` comes with the mail service; until then any other value is refused rather than ignored."""


class Settings(BaseSettings):
    """Every setting of the service."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        secrets_nested_delimiter="__",
        secrets_dir_missing="error",
    )

    env: Literal["development", "production"] = "development"
    data: Path = Path("var")
    debug: bool = False
    master_key: SecretStr | None = None
    """The key, `file:/path` of it, or who keeps it: `vault:MOUNT/NAME`, `pkcs11:token=NAME;object=NAME`."""
    next_master_key: SecretStr | None = None
    """The one that takes its place, while `payymo secret rotate-master` does."""
    issuer: str = ""
    audience: str = "payymo-api"
    refresh_audience: str = "payymo-refresh"
    default_tenant: str = Field(default="default", pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
    trusted_proxies: tuple[Network, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    database: Database = Database()
    redis: Redis = Redis()
    vault: Vault = Vault()
    pkcs11: Pkcs11 = Pkcs11()
    server: Server = Server()
    tokens: Tokens = Tokens()
    keys: Keys = Keys()
    certificates: Certificates = Certificates()
    limits: Limits = Limits()
    lockout: Lockout = Lockout()
    registration: Registration = Registration()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before variables before secret files. `.env` files are not read: they end up in images."""
        del settings_cls, dotenv_settings
        secrets = NestedSecretsSettingsSource(file_secret_settings)
        return init_settings, env_settings, secrets

    @model_validator(mode="after")
    def _issuer_and_audiences_are_sound(self) -> Self:
        if not self.issuer:
            scheme = "https" if self.server.tls_certificate else "http"
            object.__setattr__(self, "issuer", f"{scheme}://127.0.0.1:{self.server.port}")
        try:
            parts = urlsplit(self.issuer)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("issuer: an http(s) URL without query and fragment (RFC 8414 §2)")
        if set("?#%") & set(str(self.data)):
            raise ValueError("data: a path without ?, # and %, which mean something else in the URL of the database")
        if not self.audience or not self.refresh_audience or self.audience == self.refresh_audience:
            raise ValueError("audience and refresh_audience: two different names, neither empty")
        return self

    @property
    def is_production(self) -> bool:
        """Whether the checks for production apply."""
        return self.env == "production"

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL that the service uses."""
        if self.database.url is None:
            return f"sqlite:///{(self.data / 'payymo.db').absolute()}"
        return _with_driver(self.database.url.get_secret_value())

    @property
    def owner_url(self) -> str:
        """The SQLAlchemy URL that migrations use."""
        if self.database.owner_url is None:
            return self.database_url
        return _with_driver(self.database.owner_url.get_secret_value())

    @property
    def limits_store(self) -> Literal["database", "redis", "memory"]:
        """The rate-limit store in effect."""
        if self.limits.store != "auto":
            return self.limits.store
        return "redis" if self.redis.url else "database"


def reveal(secret: SecretStr | None) -> str | None:
    """The text of a secret, for the one place that uses it."""
    return None if secret is None else secret.get_secret_value()


def _is_origin(value: str) -> bool:
    """A scheme, a host and perhaps a port, in the form that every reader of URLs takes for the same."""
    found = _ORIGIN.fullmatch(value)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 65536):
        return False
    try:
        return found["v6"] is None or bool(ipaddress.IPv6Address(found["v6"]))
    except ValueError:
        return False


def _with_driver(url: str) -> str:
    """A PostgreSQL URL as operators write it, with the driver that we have."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in {"postgres", "postgresql"} else url


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings in effect, from the process environment and the secrets folder.

    Raises Misconfigured with every reason at once: unknown names, wrong types, contradictions.
    """
    environment = os.environ if environment is None else environment
    folder = environment.get("PAYYMO_SECRETS_DIR")
    reasons = [
        *(f"{name} is not a setting: see docs/operating.md for the list" for name in _unknown(environment)),
        *_faults_of_files(folder),
    ]
    try:
        settings = Settings(_secrets_dir=folder, **overrides)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            # Between the names stand alternatives that were tried: they are nobody's but the library's.
            parts = [str(part) for part in problem["loc"] if isinstance(part, int) or part.isidentifier()]
            message = problem["msg"].removeprefix("Value error, ")
            head, _, rest = message.partition(": ")
            if not parts and head in Settings.model_fields:
                parts, message = [head], rest
            reasons.append(f"{(PREFIX + '__'.join(parts).upper()).rstrip('_')}: {message}")
        raise Misconfigured(list(dict.fromkeys(reasons))) from None
    except SettingsError as error:
        field = re.search(r'field "([a-z_]+)"', str(error))
        raise Misconfigured([*reasons, _form_of(field[1]) if field else str(error)]) from None
    except ValueError as error:
        raise Misconfigured([*reasons, str(error)]) from None
    if reasons:
        raise Misconfigured(reasons)
    return settings


def _form_of(field: str) -> str:
    """How a setting is written that holds more than one value."""
    name = f"{PREFIX}{field.upper()}"
    section = Settings.model_fields[field].annotation
    if isinstance(section, type) and issubclass(section, BaseModel):
        return f"{name} is a group: set its members, such as {name}__{next(iter(section.model_fields)).upper()}"
    return f'{name}: write a JSON list, such as ["10.0.0.0/8"]'


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(FOREIGN) and name not in SWITCHES:
            head = name.removeprefix(PREFIX).split("__")[0].lower()
            if head not in Settings.model_fields:
                yield name


def _faults_of_files(folder: str | None) -> Iterator[str]:
    """Whoever can put a file there decides what the settings are."""
    if folder is None or not Path(folder).is_dir():
        return
    try:
        require_private_folder(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            if path.name.lower().startswith(PREFIX.lower()):
                require_private(path, group_may_read=True)
                head = path.name.lower().removeprefix(PREFIX.lower()).split("__")[0]
                if head not in Settings.model_fields:
                    yield f"{folder}: the file {path.name} is not a setting"
    except Misconfigured as error:
        yield from error.reasons


def describe(settings: Settings) -> dict[str, Any]:
    """The effective settings, flat, as the variables that would set them; secrets masked."""
    flat: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{name}__{key.upper()}" if name != PREFIX else f"{PREFIX}{key.upper()}")
        else:
            flat[name] = value

    walk(settings.model_dump(mode="json"), PREFIX)
    return flat
