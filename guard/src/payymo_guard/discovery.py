"""Where the issuer's documents and endpoints are: from its metadata, `{issuer}/.well-known/payymo`.

The metadata may name nothing but places of the issuer itself: a credential is sent there.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from payymo_guard.http import Client, Origin, Unreachable

MAX_METADATA_BYTES: Final = 65_536
TIMEOUT_SECONDS: Final = 5
_CREDENTIAL = re.compile(r"payymo_[0-9a-f]{32}_[0-9A-Za-z_-]{43}")


@dataclass(frozen=True, slots=True)
class Reach:
    """How a guard reaches its issuer. Raises ValueError for what can't be right."""

    issuer: str
    credential: str | None = field(default=None, repr=False)
    discovery_url: str | None = None
    ca_file: Path | None = None
    start_seconds: float = 5

    def __post_init__(self) -> None:
        Origin.of(self.metadata_url)
        if self.credential is not None and not _CREDENTIAL.fullmatch(self.credential):
            raise ValueError("credential: not a service's credential (payymo_…)")

    @property
    def metadata_url(self) -> str:
        """Where the metadata is."""
        return self.discovery_url or f"{self.issuer.rstrip('/')}/.well-known/payymo"

    @property
    def headers(self) -> dict[str, str]:
        """What says who we are."""
        return {} if self.credential is None else {"Authorization": f"Bearer {self.credential}"}

    def client(self) -> Client:
        """A client of the server that has the metadata; all that follows is asked of it, too."""
        return Client(Origin.of(self.metadata_url), self.ca_file)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Paths on the issuer's server, and what it wants to be known."""

    jwks: str
    revocations: str
    introspection: str
    jwks_max_age_seconds: int
    wait_seconds: int
    """The longest wait that the feed accepts."""


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str
    revocations_uri: str
    introspection_endpoint: str
    jwks_max_age_seconds: Annotated[int, msgspec.Meta(ge=0)]
    revocation_wait_seconds: Annotated[int, msgspec.Meta(ge=0)] = 20


_decode: Final = msgspec.json.Decoder(_Metadata).decode


def discover(reach: Reach, client: Client) -> Endpoints:
    """Where everything is. Raises Unreachable; a document that can't be right counts as none."""
    path = path_of(reach.metadata_url)
    answer = client.request("GET", path, headers={}, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_METADATA_BYTES)
    body = answer.require_ok("metadata")
    try:
        found = _decode(body)
        _require_issuer(found, reach)
        ours = {Origin.of(reach.metadata_url), *_origin_if_any(reach.issuer)}
        return Endpoints(
            jwks=_endpoint(found.jwks_uri, ours),
            revocations=_endpoint(found.revocations_uri, ours),
            introspection=_endpoint(found.introspection_endpoint, ours),
            jwks_max_age_seconds=found.jwks_max_age_seconds,
            wait_seconds=found.revocation_wait_seconds,
        )
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Unreachable(f"metadata: {error}") from error


def path_of(url: str) -> str:
    """What stands in the request's first line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _require_issuer(found: _Metadata, reach: Reach) -> None:
    if found.issuer != reach.issuer:
        raise ValueError(f"it is the metadata of {found.issuer!r}, and not of {reach.issuer!r}")


def _endpoint(url: str, ours: set[Origin]) -> str:
    if Origin.of(url) not in ours:
        raise ValueError(f"{url!r} is not at the issuer's own address")
    return path_of(url)


def _origin_if_any(issuer: str) -> tuple[Origin, ...]:
    """The issuer's own; none where it is reached in another way alone, such as http://auth.internal behind a URL."""
    try:
        return (Origin.of(issuer),)
    except ValueError:
        return ()
