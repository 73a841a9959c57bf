"""What this machine can do at best: one hash, one signature, one durable rotation, with nothing of ours around them."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import argon2
import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from nacl import pwhash

from bench.measure import Act
from payymo.keys.signer import RSA_BITS
from payymo.users.hashes import Argon2Cost
from tests.support.house import PASSWORD
from tests.support.services import Postgres

_COST = Argon2Cost()
_HASH = _COST.hash(PASSWORD).encode()
_OTHER_HASHER = argon2.PasswordHasher(time_cost=_COST.iterations, memory_cost=_COST.memory_kib, parallelism=1)
_MESSAGE = b"x" * 800
"""As long as the signing input of an access token."""
_TABLE = (
    "CREATE TABLE floor_sessions (id CHAR(32) PRIMARY KEY, refresh_id CHAR(32) NOT NULL, consumed_id CHAR(32), "
    "last_seen_at BIGINT NOT NULL)"
)
_ROTATE = (
    "UPDATE floor_sessions SET consumed_id = refresh_id, refresh_id = {0}, last_seen_at = last_seen_at + 1 "
    "WHERE id = {0} RETURNING last_seen_at"
)


def hash_once() -> object:
    """The floor of a login: one Argon2id verification by libsodium."""
    return pwhash.verify(_HASH, PASSWORD.encode())


def hash_otherwise() -> object:
    """What a server that hashes with argon2-cffi pays at least: the same parameters, the same hash."""
    return _OTHER_HASHER.verify(_HASH.decode(), PASSWORD)


def signing() -> Act:
    """An act: the floor of a refresh, one RSA signature."""
    key = rsa.generate_private_key(65537, RSA_BITS)
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    return lambda: key.sign(_MESSAGE, scheme, digest)


@contextmanager
def rotating_sqlite(folder: Path) -> Iterator[Act]:
    """An act: one rotation statement through `sqlite3`, durable."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", _TABLE):
        connection.execute(statement)
    try:
        yield _rotation("?", lambda text, values: connection.execute(text, values).fetchone())
    finally:
        connection.close()


@contextmanager
def rotating_postgres(server: Postgres) -> Iterator[Act]:
    """An act: one rotation statement through psycopg, durable."""
    server.create_database("floor")
    address = server.url("floor").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(_TABLE)
        yield _rotation("%s", lambda text, values: connection.execute(text.encode(), values).fetchone())


def _rotation(mark: str, run: Callable[[str, tuple[str, ...]], object]) -> Act:
    """The act on a row that is made for it."""
    row_id = uuid.uuid4().hex  # noqa: TID251 - nothing is kept from anybody here
    run(f"INSERT INTO floor_sessions VALUES ({mark}, {mark}, NULL, 0) RETURNING id", (row_id, row_id))
    text = _ROTATE.format(mark)
    return lambda: run(text, (row_id, row_id))
