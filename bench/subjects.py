"""The questions that are measured, each against a floor of this machine."""

import os
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import argon2
import httpx
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from nacl import pwhash

from bench.measure import Act, Figure, rates, seconds_each
from bench.scene import EMAIL, Scene, environ, run
from payymo.db.schema import token_revocations
from payymo.users.passwords import MEMORY_BYTES, OPS_LIMIT
from tests.support.house import PASSWORD
from tests.support.processes import Server, environment

CORES = os.cpu_count() or 1
_HASH = pwhash.argon2id.str(PASSWORD.encode(), opslimit=OPS_LIMIT, memlimit=MEMORY_BYTES)
_OTHER_HASHER = argon2.PasswordHasher(time_cost=OPS_LIMIT, memory_cost=MEMORY_BYTES // 1024, parallelism=1)
_KEY = rsa.generate_private_key(65537, 3072)


def hash_once() -> object:
    """The floor of a login: one Argon2id verification by libsodium."""
    return pwhash.verify(_HASH, PASSWORD.encode())


def hash_otherwise() -> object:
    """What a server pays at least that hashes with argon2-cffi."""
    return _OTHER_HASHER.verify(_HASH.decode(), PASSWORD)


def sign_once() -> object:
    """The floor of a refresh: one RSA-3072 signature."""
    return _KEY.sign(b"x" * 800, padding.PKCS1v15(), hashes.SHA256())


def floors(scenes: dict[str, Scene], *, rounds: int) -> list[str]:
    """The machine's own speed, for the record."""
    acts: dict[str, Act] = {"one Argon2id verification": hash_once, "one RSA-3072 signature": sign_once}
    for name, scene in scenes.items():
        acts[f"one rotation statement, {name}, bare driver"] = _bare_rotation(scene)
    return [f"{name}: {seconds * 1000:.2f} ms" for name, seconds in seconds_each(acts, rounds=rounds).items()]


def _bare_rotation(scene: Scene) -> Act:
    """One durable UPDATE of a session by primary key, without anything of ours around it."""
    scene.log_in()
    engine = sa.create_engine(scene.database.owner_url)
    raw = engine.raw_connection()
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT tenant_id, id FROM sessions LIMIT 1").one()
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    text = f"UPDATE sessions SET replays = replays + 1 WHERE tenant_id = {mark} AND id = {mark}"

    def rotate() -> None:
        raw.cursor().execute(text, tuple(found))
        raw.commit()

    return rotate


def login(scenes: dict[str, Scene], *, rounds: int) -> list[Figure]:
    """What a login costs beyond the hash, and how many fit while all cores are busy."""
    figures = []
    for name, scene in scenes.items():
        times = seconds_each({"hash": hash_once, "login": scene.log_in}, rounds=rounds * 2)
        beyond = (times["login"] - times["hash"]) * 1000
        figures.append(Figure(f"login beyond the hash, {name}", beyond, 3.0, at_most=True, unit=" ms"))
        found = rates(
            {
                "hash": lambda _: hash_once,
                "login": lambda _, scene=scene: scene.log_in,
                "other": lambda _: hash_otherwise,
            },
            threads=CORES,
            seconds=2.0,
            rounds=max(2, rounds // 5),
        )
        figures += [
            Figure(f"logins / bare hashes, all cores, {name}", found["login"] / found["hash"], 0.9, at_most=False),
            Figure(f"logins / argon2-cffi hashes, {name}", found["login"] / found["other"], 1.4, at_most=False),
        ]
    return figures


def refresh(scenes: dict[str, Scene], *, rounds: int) -> list[Figure]:
    """Refreshes with rotation, durable, against bare signatures, in one process with as many threads as cores."""
    figures = []
    for name, scene in scenes.items():
        found = rates(
            {"sign": lambda _: sign_once, "refresh": lambda _, scene=scene: scene.refresher()},
            threads=CORES,
            seconds=2.0,
            rounds=max(2, rounds // 5),
        )
        ratio = found["refresh"] / found["sign"]
        figures.append(Figure(f"refreshes / bare RSA-3072 signatures, {name}", ratio, 0.4, at_most=False))
    return figures


def protected(scenes: dict[str, Scene], *, rounds: int) -> list[Figure]:
    """A protected route, revocation checked, against an open one of the same application, in process.

    In process there is no HTTP server to hide behind: over one, the ratio is better.
    """
    figures = []
    for name, scene in scenes.items():
        token = scene.log_in()["access_token"]
        acts: dict[str, Act] = {
            "open": _caller(scene, None, "/open"),
            "protected": _caller(scene, token, "/protected"),
        }
        times = seconds_each(acts, rounds=rounds * 5, repeat=50)
        ratio = times["open"] / times["protected"]
        figures.append(Figure(f"protected / open route, {name}, in process", ratio, 0.7, at_most=False))
    return figures


def _caller(scene: Scene, token: str | None, path: str) -> Callable[[], None]:
    prepared = environ(path, token=token)

    def call() -> None:
        status, _ = run(scene.app, dict(prepared))
        if not status.startswith("200"):
            raise RuntimeError(status)

    return call


def revocations(scenes: dict[str, Scene], *, rounds: int, few: int = 1000, many: int = 1_000_000) -> list[Figure]:
    """Whether looking a token up stays flat while the table grows a thousandfold."""
    figures = []
    for name, scene in scenes.items():
        tenant_id, user_id = scene.user.tenant_id, scene.user.id

        def ask(scene: Scene = scene, tenant_id: uuid.UUID = tenant_id) -> object:
            made = scene.services.entropy.uuid()
            return scene.services.revocations.is_refused(tenant_id, token_id=made, session_id=made)

        _fill(scene, user_id, few)
        small = seconds_each({"ask": ask, "hash": hash_once}, rounds=rounds * 5, repeat=5)
        _fill(scene, user_id, many - few)
        large = seconds_each({"ask": ask, "hash": hash_once}, rounds=rounds * 5, repeat=5)
        drift = large["hash"] / small["hash"]
        ratio = large["ask"] / small["ask"] / drift
        figures.append(Figure(f"look-up among {many:,} / {few:,} revocations, {name}", ratio, 1.5, at_most=True))
    return figures


def _fill(scene: Scene, user_id: uuid.UUID, count: int) -> None:
    engine = sa.create_engine(scene.database.owner_url)
    batch = 20_000
    with engine.begin() as connection:
        last = connection.execute(sa.select(sa.func.max(token_revocations.c.seq))).scalar() or 0
        for start in range(0, count, batch):
            rows = [
                {
                    "tenant_id": scene.user.tenant_id,
                    "seq": last + start + number + 1,
                    "kind": "session",
                    "subject_id": scene.services.entropy.uuid(),
                    "user_id": user_id,
                    "reason": "logout",
                    "revoked_at": 0,
                    "expires_at": 4_000_000_000,
                }
                for number in range(min(batch, count - start))
            ]
            connection.execute(sa.insert(token_revocations), rows)
    engine.dispose()


def server(scenes: dict[str, Scene], *, rounds: int) -> list[Figure]:
    """A server process of its own: how much memory, and how soon the first answer."""
    database = scenes["sqlite"].database
    starts, memory = [], 0.0
    for _ in range(max(2, rounds // 5)):
        process = Server(database, environment(database))
        begun = time.perf_counter()
        process.start()
        starts.append(time.perf_counter() - begun)
        try:
            httpx.post(f"{process.base}/api/auth/login", json={"email": EMAIL, "password": PASSWORD})
            memory = max(memory, *(_resident_megabytes(pid) for pid in process.pids()))
        finally:
            process.terminate()
    return [
        Figure("cold start to the first answer", sorted(starts)[len(starts) // 2], 1.5, at_most=True, unit=" s"),
        Figure("memory of one process, Argon2 idle", memory, 120.0, at_most=True, unit=" MB"),
    ]


def _resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024
