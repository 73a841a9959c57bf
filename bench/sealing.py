"""What encryption at rest costs: one field, and every field of a large tenant again."""

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.measure import Effort, Figure, difference, interleave, timed
from bench.scene import DATABASES, Scene, Stage
from payymo.db.schema import secrets
from payymo.db.work import Transaction
from payymo.logs import Trace
from payymo.sealed import Sealed
from payymo.secrets.envelope import Envelope

PLACE = ("secrets", "name", "1", "value")
VALUE = b"x" * 64
AGO_SECONDS = 7200
BATCH = 5_000
REPEAT = 500


def field(stage: Stage, effort: Effort) -> list[Figure]:
    """Sealing and opening a field of 64 bytes, less what the bare cipher takes. The data key is known, as mostly."""
    scene = stage.scene("sqlite")
    envelope = scene.services.envelope
    cipher, nonce, bound = AESGCM(bytes(32)), bytes(12), b"".join(part.encode() for part in PLACE)
    bare = cipher.encrypt(nonce, VALUE, bound)
    with scene.services.work(scene.tenant.id) as tx:
        sealed = envelope.seal(tx, "bench", VALUE, *PLACE)
    with scene.services.work(scene.tenant.id) as tx:
        found = interleave(
            {
                "seal": timed(lambda: envelope.seal(tx, "bench", VALUE, *PLACE), repeat=REPEAT),
                "encrypt": timed(lambda: cipher.encrypt(nonce, VALUE, bound), repeat=REPEAT),
                "open": timed(lambda: envelope.open(tx, sealed, *PLACE), repeat=REPEAT),
                "decrypt": timed(lambda: cipher.decrypt(nonce, bare, bound), repeat=REPEAT),
            },
            rounds=effort.rounds * 10,
        )
    parts = ", ".join(f"{name} {statistics.median(values) * 1e6:.1f} us" for name, values in found.items())
    opening = difference(found, "open", "decrypt") * 1e6
    return [
        Figure("sealing a field beyond the cipher", difference(found, "seal", "encrypt") * 1e6, "us", at_most=10.0),
        Figure("opening a field beyond the cipher", opening, "us", at_most=10.0, parts=parts),
    ]


def reencryption(stage: Stage, effort: Effort) -> list[Figure]:
    """Every secret of a large tenant under a new data key: how many a second, and how much more memory at the end."""
    figures = []
    for kind in DATABASES:
        scene = stage.scene(kind, "sealed")
        _fill(scene, effort.rows)
        before, begun = _resident_megabytes(), time.perf_counter()
        done = scene.services.reencryption.run(progress=_unwatched, pause=_at_once, trace=Trace()).values
        elapsed, grown = time.perf_counter() - begun, _resident_megabytes() - before
        parts = f"{done:,} values in {elapsed:.1f} s"
        figures.append(Figure(f"values sealed again, {kind}", done / elapsed, "/s", parts=parts))
        figures.append(Figure(f"memory grown meanwhile, {kind}", grown, "MB", at_most=20.0))
    return figures


def _fill(scene: Scene, count: int) -> None:
    """Secrets, past everything that would make them one by one, under data keys that are old enough to be changed."""
    envelope, work = scene.services.envelope, scene.services.work
    with work(scene.tenant.id) as tx:
        envelope.seal(tx, "secrets", VALUE, *PLACE)
    given: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in ("name", "sealed", "data_key_id")}
    add = sa.insert(secrets).values(tenant_id=scene.tenant.id, version=1, created_at=0, **given)
    engine = sa.create_engine(scene.database.owner_url)
    with work(scene.tenant.id) as tx:
        rows = list(_rows(envelope, tx, count))
    with engine.begin() as connection:
        for start in range(0, count, BATCH):
            connection.execute(add, rows[start : start + BATCH])
        for table in ("data_keys", "service_data_keys"):
            connection.execute(sa.text(f"UPDATE {table} SET created_at = created_at - {AGO_SECONDS}"))
    engine.dispose()


def _rows(envelope: Envelope, tx: Transaction, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        name = f"secret-{number}"
        sealed: Sealed = envelope.seal(tx, "secrets", VALUE, "secrets", name, "1", "value")
        yield {"name": name, "sealed": sealed.data, "data_key_id": sealed.data_key_id}


def _resident_megabytes() -> float:
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], check=True, capture_output=True, text=True)
    return int(listed.stdout) / 1000


def _unwatched(_done: int, _total: int) -> None:
    """Nobody watches."""


def _at_once(_seconds: float) -> None:
    """Nobody else is at work who would have to be waited for."""
