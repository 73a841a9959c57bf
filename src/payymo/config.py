"""The settings: typed, frozen, read once from `PAYYMO_…` variables and a folder of secret files.

Nested members are written with two underscores: `PAYYMO_LIMITS__LOGIN=20/minute`. A file in `PAYYMO_SECRETS_DIR` bears
the same name in small letters and holds the value. Unknown names are refused, so that a misspelt setting can't be
silently without effect. What production refuses is decided in `payymo.production`.
"""

import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from payymo.errors import Misconfigured
from payymo.people_sections import (
    Console,
    Impersonation,
    Links,
    Lockout,
    Mail,
    Passwords,
    Registration,
    Webhooks,
)
from payymo.sections import (
    Audit,
    Certificates,
    Database,
    Feed,
    Keys,
    Limits,
    Metrics,
    Network,
    Pkcs11,
    Redis,
    Server,
    Tokens,
    Tracing,
    Vault,
)
from payymo.setting_files import FOLDER, faults_of_files

PREFIX = "PAYYMO_"
FOREIGN = ("PAYYMO_TEST_",)
"""Names that the test suite reads; the service ignores them."""
SWITCHES = (FOLDER,)
"""Names that say where the settings are, and so can't be settings themselves."""
_NOT_JSON = {
    "tuple_type": 'write a JSON list, such as ["10.0.0.0/8"]',
    "dict_type": 'write a JSON object, such as {"name": "value"}',
}
"""What pydantic says of such a value is about Python."""
LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))


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
    trusted_hosts: tuple[Annotated[str, StringConstraints(to_lower=True, min_length=1, max_length=253)], ...] = ()
    database: Database = Database()
    redis: Redis = Redis()
    vault: Vault = Vault()
    pkcs11: Pkcs11 = Pkcs11()
    server: Server = Server()
    tokens: Tokens = Tokens()
    keys: Keys = Keys()
    certificates: Certificates = Certificates()
    audit: Audit = Audit()
    feed: Feed = Feed()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    limits: Limits = Limits()
    lockout: Lockout = Lockout()
    passwords: Passwords = Passwords()
    registration: Registration = Registration()
    mail: Mail = Mail()
    links: Links = Links()
    console: Console = Console()
    impersonation: Impersonation = Impersonation()
    webhooks: Webhooks = Webhooks()

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
        if not _is_issuer(self.issuer):
            raise ValueError("issuer: an http(s) URL without query and fragment (RFC 8414 §2), blanks and user")
        if set("?#%") & set(str(self.data)):
            raise ValueError("data: a path without ?, # and %, which mean something else in the URL of the database")
        if not self.audience or not self.refresh_audience or self.audience == self.refresh_audience:
            raise ValueError("audience and refresh_audience: two different names, neither empty")
        return self

    @model_validator(mode="after")
    def _verification_needs_mail(self) -> Self:
        if self.registration.verify_email == "required" and self.mail.way is None:
            raise ValueError("registration: VERIFY_EMAIL is required, and no mail is sent: set PAYYMO_MAIL__HOST")
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

    @property
    def feed_open_to(self) -> tuple[Network, ...]:
        """The networks in effect from which the revocation feed may be followed without a credential."""
        if self.feed.open_to is None:
            return () if self.is_production else LOOPBACK
        return self.feed.open_to

    @property
    def webhooks_allowed(self) -> tuple[Network, ...]:
        """The networks in effect that events are sent to, beside public addresses."""
        if self.webhooks.allow_private is None:
            return () if self.is_production else LOOPBACK
        return self.webhooks.allow_private


def reveal(secret: SecretStr | None) -> str | None:
    """The text of a secret, for the one place that uses it."""
    return None if secret is None else secret.get_secret_value()


def _with_driver(url: str) -> str:
    """A PostgreSQL URL as operators write it, with the driver that we have."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in {"postgres", "postgresql"} else url


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings in effect, from the process environment and the secrets folder.

    Raises Misconfigured with every reason at once: unknown names, wrong types, contradictions.
    """
    environment = os.environ if environment is None else environment
    folder = environment.get(FOLDER)
    reasons = [f"{name} is not a setting: see docs/operating.md for the list" for name in _unknown(environment)]
    if folder is not None and (faults := list(faults_of_files(folder, PREFIX, Settings.model_fields))):
        raise Misconfigured([*reasons, *faults])
    try:
        settings = Settings(_secrets_dir=folder, **overrides)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            # Between the names stand alternatives that were tried: they are nobody's but the library's.
            parts = [str(part) for part in problem["loc"] if isinstance(part, int) or part.isidentifier()]
            message = _NOT_JSON.get(problem["type"], problem["msg"].removeprefix("Value error, "))
            head, _, rest = message.partition(": ")
            if not parts and head in Settings.model_fields:
                parts, message = [head], rest
            reasons.append(f"{(PREFIX + '__'.join(parts).upper()).rstrip('_')}: {message}")
        raise Misconfigured(list(dict.fromkeys(reasons))) from None
    except SettingsError as error:
        field = re.search(r'field "([a-z_]+)"', str(error))
        raise Misconfigured([*reasons, _form_of(field[1], environment) if field else str(error)]) from None
    except ValueError as error:
        raise Misconfigured([*reasons, str(error)]) from None
    if reasons:
        raise Misconfigured(reasons)
    return settings


def _form_of(field: str, environment: Mapping[str, str]) -> str:
    """How a setting is written that holds more than one value, or the members of its group that do."""
    name = f"{PREFIX}{field.upper()}"
    section = Settings.model_fields[field].annotation
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return f"{name}: {_NOT_JSON['tuple_type']}"
    members = [given for given in environment if given.upper().startswith(f"{name}__")]
    if name in environment or not members:
        return f"{name} is a group: set its members, such as {name}__{next(iter(section.model_fields)).upper()}"
    for given in members:
        member = section.model_fields.get(given.upper().removeprefix(f"{name}__").lower())
        kind = get_origin(member.annotation) if member else None
        if kind in {tuple, dict} and not _is_json(environment[given]):
            return f"{given}: {_NOT_JSON[f'{kind.__name__}_type']}"
    return f"{name}: one of its members is not JSON"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_issuer(text: str) -> bool:
    """Whether everybody who compares it reads the same: urlsplit leaves out blanks, and looks at a port when asked."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # ValueError: there can't be such a one
    except ValueError:
        return False
    is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    return is_address and text.isprintable() and not set(" ?#") & set(text)


def is_ours(name: str) -> bool:
    """Whether a variable is a setting, or is meant to be. Like their names, in capitals or not."""
    return name.upper().startswith(PREFIX) and not name.upper().startswith(FOREIGN)


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environment):
        if is_ours(name) and name not in SWITCHES:
            head = name[len(PREFIX) :].split("__")[0].lower()
            if head not in Settings.model_fields:
                yield name


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
