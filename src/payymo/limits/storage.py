"""A storage for the `limits` library in SQL, shared by every process on the database. Exact under concurrent writers.

Counters are worth nothing after a crash, so on SQLite they live in a file of their own that is never synced to disk,
and counting does not queue behind the commits of logins.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.storage.base import TimestampedSlidingWindow
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from payymo.clock import Clock
from payymo.db.batches import COUNT, forget_some
from payymo.db.schema import PLATFORM_ROLE
from payymo.db.schema import rate_limits as t

_KEY = t.c.key == sa.bindparam("of_key")
_GET = sa.select(t.c.hits).where(_KEY, t.c.expires_at > sa.bindparam("moment"))
_GET_EXPIRY = sa.select(t.c.expires_at).where(_KEY)
_CLEAR = sa.delete(t).where(_KEY)
_PRUNE = forget_some(t, t.c.expires_at <= sa.bindparam("moment"), oldest=t.c.expires_at)
PRUNED_AT_ONCE = 1000
_ENTER = sa.text("SELECT set_config('role', :role, true)").bindparams(role=PLATFORM_ROLE)


class SqlStorage(Storage, SlidingWindowCounterSupport, TimestampedSlidingWindow):
    """Counts in the table `rate_limits`."""

    STORAGE_SCHEME = ["payymo-sql"]  # noqa: RUF012 - the library declares it so

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        super().__init__(None, wrap_exceptions=False)
        self._engine = engine
        self._clock = clock
        insert = postgresql.insert(t) if engine.dialect.name == "postgresql" else sqlite.insert(t)
        alive = t.c.expires_at > sa.bindparam("moment")
        self._count = insert.on_conflict_do_update(
            index_elements=[t.c.key],
            set_={
                "hits": sa.case((alive, t.c.hits + insert.excluded.hits), else_=insert.excluded.hits),
                "expires_at": sa.case((alive, t.c.expires_at), else_=insert.excluded.expires_at),
            },
        ).returning(t.c.hits)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What this storage raises when its database is away."""
        return SQLAlchemyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` more under `key`, which lives `expiry` seconds from its first hit."""
        with self._begin() as connection:
            return self._add(connection, key, expiry, amount)

    def get(self, key: str) -> int:
        """The count under `key`."""
        with self._begin() as connection:
            return connection.execute(_GET, {"of_key": key, "moment": self._clock()}).scalar() or 0

    def get_expiry(self, key: str) -> float:
        """When `key` runs out, in seconds since 1970."""
        with self._begin() as connection:
            return connection.execute(_GET_EXPIRY, {"of_key": key}).scalar() or self._clock()

    def check(self) -> bool:
        """Whether the database answers."""
        try:
            with self._begin():
                return True
        except SQLAlchemyError:
            return False

    def reset(self) -> int | None:
        """Forget every count."""
        with self._begin() as connection:
            return connection.execute(sa.delete(t)).rowcount

    def clear(self, key: str) -> None:
        """Forget the count under `key`."""
        with self._begin() as connection:
            connection.execute(_CLEAR, {"of_key": key})

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def prune(self) -> int:
        """Forget one batch of what has run out. Answers how many keys; call until it is 0."""
        with self._begin() as connection:
            return connection.execute(_PRUNE, {"moment": self._clock(), COUNT: PRUNED_AT_ONCE}).rowcount

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count first, then look whether it was one too many, and take it back if so."""
        if amount > limit:
            return False
        now = self._clock()
        previous_key, current_key = self.sliding_window_keys(key, expiry, now)
        with self._begin() as connection:
            current = self._add(connection, current_key, expiry * 2, amount)  # takes the row's lock
            previous = connection.execute(_GET, {"of_key": previous_key, "moment": now}).scalar() or 0
            weighted = previous * (1 - (now % expiry) / expiry) + current
            if math.floor(weighted) > limit:
                connection.rollback()
                return False
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Previous count, its seconds to live, current count, its seconds to live."""
        now = self._clock()
        previous_key, current_key = self.sliding_window_keys(key, expiry, now)
        elapsed = now % expiry
        return self.get(previous_key), expiry - elapsed, self.get(current_key), 2 * expiry - elapsed

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget both windows of `key`."""
        for part in self.sliding_window_keys(key, expiry, self._clock()):
            self.clear(part)

    def _add(self, connection: sa.Connection, key: str, expiry: int, amount: int) -> int:
        now = self._clock()
        values: dict[str, Any] = {"key": key, "hits": amount, "expires_at": now + expiry, "moment": now}
        return int(connection.execute(self._count, values).scalar_one())

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """A transaction as the platform role, which alone may touch the table."""
        with self._engine.connect() as connection, connection.begin():
            if self._engine.dialect.name == "postgresql":
                connection.execute(_ENTER)
            yield connection
