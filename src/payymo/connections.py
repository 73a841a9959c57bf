"""The connections that the settings ask for: to the database, and to what counts for the rate limits."""

from dataclasses import dataclass

import sqlalchemy as sa
from limits.storage import RedisStorage, Storage
from sqlalchemy.pool import QueuePool

from payymo.clock import Clock
from payymo.config import Settings, reveal
from payymo.db.counters import counters_engine
from payymo.db.work import connect
from payymo.errors import Misconfigured
from payymo.limits.storage import SqlStorage

REDIS_PATIENCE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Connections:
    """Of the pool: in use, and at most. What asks about revocations has connections of its own."""

    in_use: int
    at_most: int


def open_engine(settings: Settings, *, as_owner: bool = False) -> sa.Engine:
    """The database engine: the service's own, or the owner's for migrations."""
    return connect(
        settings.owner_url if as_owner else settings.database_url,
        pool_size=settings.database.pool_size,
        timeout_seconds=settings.database.timeout_seconds,
    )


def connections_of(engine: sa.Engine) -> Connections:
    """How many connections of its pool are in use, of how many."""
    if not isinstance(engine.pool, QueuePool):
        return Connections(0, 0)
    return Connections(engine.pool.checkedout(), engine.pool.size())


def open_counters(settings: Settings, engine: sa.Engine, clock: Clock) -> Storage | None:
    """Where limits are counted. None: each process counts for itself. Raises Misconfigured."""
    match settings.limits_store:
        case "memory":
            return None
        case "redis":
            return _redis(reveal(settings.redis.url) or "")
        case "database" if engine.dialect.name == "sqlite":
            return SqlStorage(counters_engine(f"sqlite:///{(settings.data / 'counters.db').absolute()}"), clock)
        case _:
            return SqlStorage(engine, clock)


def _redis(url: str) -> Storage:
    if url.startswith("valkey"):  # another client's name for the same; `valkeys` is `rediss`
        url = "redis" + url.removeprefix("valkey")
    patience = REDIS_PATIENCE_SECONDS
    try:
        storage = RedisStorage(url, socket_timeout=patience, socket_connect_timeout=patience)
        pool = storage.storage.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # it connects to nobody yet, and knows which options there are
    except Exception:  # noqa: BLE001 - it has many ways to say so, and they may hold the password
        raise Misconfigured(["PAYYMO_REDIS__URL can't be read: write redis://host:6379/0 or rediss://…"]) from None
    return storage
