"""The questions that are measured, each against a floor of this machine."""

import os
import statistics
from collections.abc import Callable

from bench import audit, counting, feed, floors, guard, hardware, pages, recording, rotation, sealing, timing
from bench.filling import fill
from bench.measure import (
    Act,
    Effort,
    Figure,
    difference,
    interleave,
    milliseconds,
    per_second,
    rated,
    ratio,
    timed,
)
from bench.scene import DATABASES, Scene, Stage
from bench.server import serving
from payymo.feed.model import Bearer
from payymo.sections import Server

CORES = os.cpu_count() or 1
THREADS = Server().threads
"""As many as one server process has: while one waits for a commit, others work."""


def floor(stage: Stage, effort: Effort) -> list[Figure]:
    """The machine's own speed, for the record."""
    acts: dict[str, Act] = {
        "one Argon2id verification": floors.hash_once,
        "one Argon2id verification, argon2-cffi": floors.hash_otherwise,
        "one RSA-3072 signature": floors.signing(),
    }
    acts |= {f"one rotation statement, {kind}, bare driver": stage.rotation(kind) for kind in DATABASES}
    found = interleave({name: timed(act) for name, act in acts.items()}, rounds=effort.rounds * 4)
    return [Figure(name, statistics.median(values) * 1000, "ms") for name, values in found.items()]


def login(stage: Stage, effort: Effort) -> list[Figure]:
    """What a login costs beyond the hash, and how many fit while all cores are busy.

    A login signs, too: what is left of a core after one signature is the most that the rates could come to.
    """
    figures = []
    sign = floors.signing()
    for kind in DATABASES:
        scene = stage.scene(kind)
        found = interleave(
            {"login": timed(scene.log_in), "hash": timed(floors.hash_once), "signature": timed(sign)},
            rounds=effort.rounds * 4,
        )
        beyond = difference(found, "login", "hash") * 1000
        figures.append(Figure(f"login beyond the hash, {kind}", beyond, "ms", at_most=3.0, parts=milliseconds(found)))
        acts = {"login": scene.log_in, "hash": floors.hash_once, "argon2-cffi": floors.hash_otherwise}
        rates = interleave(
            {name: _rated(_always(act), effort, threads=THREADS) for name, act in acts.items()},
            rounds=effort.rounds,
        )
        hashing, signing = (statistics.median(found[name]) for name in ("hash", "signature"))
        figures += [
            Figure(
                f"logins / bare hashes, all cores, {kind}",
                ratio(rates, "login", "hash"),
                at_least=0.9,
                parts=f"{per_second(rates)}; with nothing but a signature {hashing / (hashing + signing):.2f}",
            ),
            Figure(
                f"logins / argon2-cffi hashes, all cores, {kind}",
                ratio(rates, "login", "argon2-cffi"),
                at_least=1.4,
                parts=f"with nothing but a bare hash {ratio(rates, 'hash', 'argon2-cffi'):.2f}",
            ),
        ]
    return figures


def refresh(stage: Stage, effort: Effort) -> list[Figure]:
    """Refreshes with rotation, durable, in one process with all of its threads; and one at a time."""
    figures = []
    sign = floors.signing()
    for kind in DATABASES:
        scene, rotate = stage.scene(kind), stage.rotation(kind)
        rates = interleave(
            {
                "refresh": _rated(scene.refresher, effort, threads=THREADS),
                "sign": _rated(_always(sign), effort, threads=THREADS),
            },
            rounds=effort.rounds,
        )
        found = interleave(
            {"refresh": timed(scene.refresher(), repeat=5), "sign and rotate": timed(_both(sign, rotate), repeat=5)},
            rounds=effort.rounds * 2,
        )
        figures += [
            Figure(
                f"refreshes / bare RSA-3072 signatures, {kind}",
                ratio(rates, "refresh", "sign"),
                at_least=0.4,
                parts=per_second(rates),
            ),
            Figure(
                f"one refresh / signature and rotation, {kind}",
                ratio(found, "refresh", "sign and rotate"),
                parts=milliseconds(found),
            ),
        ]
    return figures


def protected(stage: Stage, effort: Effort) -> list[Figure]:
    """A protected route, revocation checked, against an open one of the same application, in process.

    In process there is no HTTP server to hide behind: over one, the ratio is better.
    """
    figures = []
    for kind in DATABASES:
        scene = stage.scene(kind)
        token = scene.log_in()["access_token"]
        found = interleave(
            {
                "open": timed(scene.getter("/open"), repeat=50),
                "protected": timed(scene.getter("/protected", token=token), repeat=50),
            },
            rounds=effort.rounds * 5,
        )
        speed = ratio(found, "open", "protected")
        figures.append(Figure(f"protected / open route, {kind}", speed, at_least=0.7, parts=milliseconds(found)))
    return figures


def revocations(stage: Stage, effort: Effort) -> list[Figure]:
    """Whether looking a token up stays flat while the table grows a thousandfold. Two databases take turns."""
    figures = []
    for kind in DATABASES:
        small, large = stage.scene(kind, "few"), stage.scene(kind, "many")
        fill(small, effort.few)
        fill(large, effort.many)
        found = interleave(
            {"many": timed(_asker(large), repeat=20), "few": timed(_asker(small), repeat=20)},
            rounds=effort.rounds * 10,
        )
        name = f"look-up among {effort.many:,} / {effort.few:,} revocations, {kind}"
        figures.append(Figure(name, ratio(found, "many", "few"), at_most=1.5, parts=milliseconds(found)))
    return figures


def server(stage: Stage, effort: Effort) -> list[Figure]:
    """A server of its own: how soon the first answer, and how much memory after a login."""
    database = stage.scene("sqlite").database
    starts, parents, workers = [], [], []
    for _ in range(max(2, effort.rounds // 2)):
        with serving(database) as running:
            starts.append(running.started_in)
            running.log_in()
            parent, worker = running.resident_megabytes()
            parents.append(parent)
            workers.append(worker)
    seen = f"{len(starts)} starts, {min(starts):.2f} to {max(starts):.2f} s"
    return [
        Figure("cold start to the first answer", statistics.median(starts), "s", at_most=1.5, parts=seen),
        Figure("memory of a worker, Argon2 idle", max(workers), "MB", at_most=120.0),
        Figure("memory of its parent", max(parents), "MB", at_most=120.0),
    ]


SUBJECTS: dict[str, Callable[[Stage, Effort], list[Figure]]] = {
    "floors": floor,
    "login": login,
    "refresh": refresh,
    "protected": protected,
    "server": server,
    "revocations": revocations,
    "counting": counting.counting,
    "rotation": rotation.rotation,
    "field": sealing.field,
    "reencryption": sealing.reencryption,
    "hardware": hardware.signing,
    "first-sight": guard.first_sight,
    "seen": guard.seen,
    "route": guard.route,
    "revoking": feed.revoking,
    "cut-off": feed.cut_off,
    "followers": feed.followers,
    "snapshot": feed.snapshot,
    "timing": timing.indistinguishable,
    "overload": timing.overload,
    "recording": recording.cost,
    "integration": recording.keeping_up,
    "verifying": audit.verifying,
    "proving": audit.proving,
    "tampering": audit.tampering,
    "pages": pages.pages,
}


def _rated(make: Callable[[], Act], effort: Effort, *, threads: int = CORES) -> Callable[[], float]:
    return rated(make, threads=threads, seconds=effort.slice_seconds)


def _always(act: Act) -> Callable[[], Act]:
    """Every thread gets the same act: there is nothing in it that they could disturb."""
    return lambda: act


def _both(first: Act, second: Act) -> Act:
    def act() -> None:
        first()
        second()

    return act


def _asker(scene: Scene) -> Act:
    """An act: is a token refused of which nobody has heard? Each time another one, so that no page is a favourite."""
    new_id, is_refused, tenant_id = scene.services.entropy.uuid, scene.services.feed.is_refused, scene.tenant.id
    return lambda: is_refused(Bearer(tenant_id, new_id(), new_id(), new_id(), 0))
