"""Rows by the million, past everything that would make them one by one."""

from collections.abc import Iterator, Sequence
from itertools import islice

import sqlalchemy as sa

from bench.scene import Scene

FAR_AWAY = 4_000_000_000
BATCH = 50_000
NONCE = "0" * 16
_COLUMNS = (
    "tenant_id",
    "seq",
    "nonce",
    "previous",
    "kind",
    "subject_id",
    "user_id",
    "reason",
    "revoked_at",
    "expires_at",
)
Row = tuple[str, int, str, str, str, str, str, str, int, int]


def fill(scene: Scene, count: int) -> None:
    """Add them, and let the feed end with them. On an empty feed alone."""
    put(scene, "token_revocations", _COLUMNS, _revocations(scene, count))
    engine = sa.create_engine(scene.database.owner_url)
    with engine.begin() as connection:
        values = f"last_seq = {count}, nonce = '{NONCE}', previous = '{NONCE}'"
        connection.execute(sa.text(f"UPDATE revocation_counter SET {values}"))
    engine.dispose()


def put(scene: Scene, table: str, columns: Sequence[str], rows: Iterator[tuple[object, ...]]) -> None:
    """Rows into a table, as fast as the database takes them; and what the server would get to in a minute."""
    names, engine = ", ".join(columns), sa.create_engine(scene.database.owner_url)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    if scene.database.is_postgres:
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        marks = ", ".join("?" * len(columns))
        while batch := list(islice(rows, BATCH)):
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", batch)
    connection.commit()
    connection.close()
    if scene.database.is_postgres:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as own:
            for chore in (f"VACUUM ANALYZE {table}", "CHECKPOINT"):
                own.execute(sa.text(chore))
    engine.dispose()


def _revocations(scene: Scene, count: int) -> Iterator[Row]:
    tenant, user, new_id = scene.tenant.id.hex, scene.user.id.hex, scene.services.entropy.uuid
    return (
        (tenant, number, NONCE, NONCE, "session", new_id().hex, user, "logout", 0, FAR_AWAY)
        for number in range(1, count + 1)
    )
