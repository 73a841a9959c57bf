"""What somebody does to the audit log who may write everywhere in the database, and has no key that signs.

Each trick is one edit, at a place that dice choose, and says what has to be found of it: of which kinds, and where.
"""

import base64
import json
import random  # noqa: TID251 - dice that are seeded
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payymo.audit.findings import Report
from payymo.audit.merkle import Edge, leaf_hash
from payymo.audit.notes import Checkpoint, VerifierKey, sign
from payymo.audit.verification import Question
from payymo.audit.vouching import Vouched
from payymo.db import schema
from payymo.logs import Event, Trace
from tests.support.house import House

EVENTS = 700
REWRITTEN = ("rewritten", "truncated")
"""What an edit is found as when every hash above it was made to fit."""
TABLES = (
    schema.audit_inbox,
    schema.audit_logs,
    schema.audit_events,
    schema.audit_payloads,
    schema.audit_tiles,
    schema.audit_checkpoints,
    schema.signing_keys,
)
logs, events, payloads, tiles, checkpoints = TABLES[1:6]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to be found first: one of these kinds; a place between `low` and `high` that `position` lies in."""

    kinds: tuple[str, ...]
    position: int
    low: int
    high: int

    def matches(self, report: Report) -> bool:
        """Whether the first finding is that."""
        if not report.findings:
            return False
        found = report.findings[0]
        is_there = self.low <= found.first <= self.position <= found.last <= self.high
        return found.kind in self.kinds and is_there


def at(position: int, *kinds: str) -> Expected:
    """Exactly there."""
    return Expected(kinds, position, position, position)


class Tampered:
    """A log of one tenant, with checkpoints that were taken away as it grew, and somebody in its database."""

    def __init__(self, house: House, *, count: int = EVENTS, seed: int = 1) -> None:
        self.house = house
        self.dice = random.Random(seed)
        self.log = house.default.id
        self.engine = house.database.owner()
        self.size = 0
        self.given: list[Vouched] = []
        self._grow(count)
        checks = house.services.checkpoints
        self.keys = checks.verifier_keys(self.log)
        self.origin = checks.origin(self.log)
        self.is_postgres = house.database.is_postgres
        with self.engine.begin() as connection:
            self.size = len(self.rows(connection))
            self.before = {table: self._rows(connection, table) for table in TABLES}

    def __enter__(self) -> "Tampered":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    def _grow(self, count: int) -> None:
        services, done = self.house.services, 0
        while done < count:
            step = min(self.dice.choice((1, 2, 3, 10, 30, 60)), count - done)
            with services.work(self.log) as tx:
                for number in range(done, done + step):
                    user = uuid.UUID(int=self.dice.getrandbits(128), version=4)
                    trace = Trace(request_id=f"r{number}", address="192.0.2.1" if number % 3 else "-")
                    services.audit.record(tx, Event("session.refresh", trace=trace, user_id=user, reason="rotated"))
            done += step
            services.sequencer.integrate_all()
            self.house.clock.advance(5)
            services.checkpoints.sign_due()
            newest = services.checkpoints.newest(self.log)
            if newest is not None:
                opened = services.checkpoints.vouchers().open(newest.note.encode(), self.log)
                self.given.append(Vouched(opened.size, opened.root, is_outside=True))

    @contextmanager
    def afterwards_as_before(self) -> Iterator[sa.Connection]:
        """A connection of a superuser; whatever is done on it is undone in the end."""
        try:
            with self.engine.connect() as connection:
                yield connection
        finally:
            with self.engine.begin() as connection:
                for table in (table for table in TABLES if self._rows(connection, table) != self.before[table]):
                    connection.execute(sa.delete(table))
                    if self.before[table]:
                        connection.execute(sa.insert(table), self.before[table])

    def verify(self, *, outside: bool = True, personal: bool = True) -> Report:
        """What the check says, with the checkpoints and the keys that were taken away, or without them."""
        services = self.house.services
        question = Question(self.log, tuple(self.given) if outside else (), personal=personal)
        return services.verification.verify(question, services.checkpoints.vouchers(self.keys if outside else None))

    def rows(self, connection: sa.Connection) -> list[Row]:
        """The events of the log, in order."""
        return [row for row in self._rows(connection, events) if row["tenant_id"] == self.log]

    def write(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Let these be the events, at the positions of their order."""
        connection.execute(sa.delete(events).where(events.c.tenant_id == self.log))
        if rows:
            connection.execute(sa.insert(events), [row | {"position": number} for number, row in enumerate(rows)])

    def rebuild(self, connection: sa.Connection, *, levels: int = 9) -> bytes:
        """Make the tiles of as many levels, and the head, what the events come to. Answers the root."""
        edge = Edge()
        rows = self.rows(connection)
        made = edge.add([leaf_hash(row["record"]) for row in rows]) | edge.partial()
        for (level, position), hashes in made.items():
            if level < levels:
                place = {"tenant_id": self.log, "level": level, "position": position}
                where = [tiles.c[name] == value for name, value in place.items()]
                connection.execute(sa.delete(tiles).where(*where))
                connection.execute(sa.insert(tiles), place | {"hashes": hashes})
        if levels > 8:
            beyond = [
                tiles.c.tenant_id == self.log,
                sa.tuple_(tiles.c.level, tiles.c.position).not_in(list(made)),
            ]
            connection.execute(sa.delete(tiles).where(*beyond))
            head = {"size": edge.size, "root": edge.root()}
            connection.execute(sa.update(logs).where(logs.c.tenant_id == self.log).values(**head))
        return edge.root()

    def proved_around(self, position: int) -> tuple[int, int]:
        """From the last checkpoint that holds up to the end of the first that can't."""
        sizes = [0, *(vouched.size for vouched in self.given), self.size]
        return max(size for size in sizes if size <= position), min(size for size in sizes if size > position) - 1

    def any_position(self, *, below: int | None = None) -> int:
        """Of an event, by chance."""
        return self.dice.randrange(self.size if below is None else below)

    def forged(self, row: Row) -> Row:
        """An event that never was, which looks like one."""
        said = json.loads(row["record"])
        said |= {"id": str(uuid.UUID(int=self.dice.getrandbits(128), version=4)), "outcome": "refused"}
        return row | {"id": uuid.UUID(said["id"]), "record": to_json(said)}

    def altered(self, row: Row) -> Row:
        """The event with another outcome."""
        return row | {"record": to_json(json.loads(row["record"]) | {"outcome": "refused"})}

    @staticmethod
    def _rows(connection: sa.Connection, table: sa.Table) -> list[Row]:
        found = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
        return [dict(row) for row in found]


Trick = Callable[[Tampered, sa.Connection], Expected]


def edit_record(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position()
    rows = world.rows(connection)
    _set(connection, world, position, record=world.altered(rows[position])["record"])
    return at(position, "edited")


def edit_one_bit(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position()
    record = bytearray(world.rows(connection)[position]["record"])
    record[world.dice.randrange(len(record))] ^= 1 << world.dice.randrange(8)
    _set(connection, world, position, record=bytes(record))
    return at(position, "edited")


def edit_columns(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position()
    other: Row = {
        "type": "session.logout",
        "at": 1,
        "actor": "operator:nobody",
        "user_id": uuid.UUID(int=7),
        "id": uuid.UUID(int=7),
    }
    name = world.dice.choice(list(other))
    _set(connection, world, position, **{name: other[name]})
    return at(position, "columns")


def remove_leaving_a_gap(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position(below=world.size - 1)
    connection.execute(sa.delete(events).where(*_at(world, position)))
    return at(position, "removed")


def remove_and_close_the_gap(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position(below=world.size - 1)
    rows = world.rows(connection)
    world.write(connection, rows[:position] + rows[position + 1 :])
    return at(position, "removed")


def remove_as_if_by_age(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position() or 1
    connection.execute(sa.delete(events).where(events.c.tenant_id == world.log, events.c.position < position))
    connection.execute(sa.update(logs).where(logs.c.tenant_id == world.log).values(first=position))
    return Expected(("removed",), 0, 0, position - 1)


def insert_between(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position()
    rows = world.rows(connection)
    world.write(connection, [*rows[:position], world.forged(rows[position]), *rows[position:]])
    return at(position, "inserted")


def insert_behind_the_end(world: Tampered, connection: sa.Connection) -> Expected:
    rows = world.rows(connection)
    world.write(connection, [*rows, world.forged(rows[-1])])
    return at(world.size, "inserted")


def swap(world: Tampered, connection: sa.Connection) -> Expected:
    one, other = sorted(world.dice.sample(range(world.size), 2))
    rows = world.rows(connection)
    rows[one], rows[other] = rows[other], rows[one]
    world.write(connection, rows)
    return at(one, "reordered")


def move(world: Tampered, connection: sa.Connection) -> Expected:
    one, other = sorted(world.dice.sample(range(world.size), 2))
    rows = world.rows(connection)
    if world.dice.random() < 0.5:
        rows.insert(other, rows.pop(one))
    else:
        rows.insert(one, rows.pop(other))
    world.write(connection, rows)
    return at(one, "reordered")


def truncate_rows(world: Tampered, connection: sa.Connection) -> Expected:
    position = world.any_position()
    connection.execute(sa.delete(events).where(events.c.tenant_id == world.log, events.c.position >= position))
    return Expected(("truncated",), position, position, world.size - 1)


def truncate_everything(world: Tampered, connection: sa.Connection) -> Expected:
    """Rows, tiles, head and checkpoints, as if nothing more had happened."""
    expected = truncate_rows(world, connection)
    world.rebuild(connection)
    connection.execute(
        sa.delete(checkpoints).where(checkpoints.c.tenant_id == world.log, checkpoints.c.size > expected.position)
    )
    low, _ = world.proved_around(expected.position)
    return Expected(("truncated",), expected.position, low, world.size - 1)


def wipe(world: Tampered, connection: sa.Connection) -> Expected:
    for table in TABLES[:6]:
        connection.execute(sa.delete(table).where(table.c.tenant_id == world.log))
    return Expected(("truncated",), 0, 0, world.size - 1)


def edit_tile(world: Tampered, connection: sa.Connection) -> Expected:
    found = [row for row in world._rows(connection, tiles) if row["tenant_id"] == world.log]
    row = world.dice.choice(found)
    hashes = bytearray(row["hashes"])
    index = world.dice.randrange(len(hashes) // 32)
    hashes[index * 32 + world.dice.randrange(32)] ^= 1
    where = [tiles.c[name] == row[name] for name in ("tenant_id", "level", "position")]
    connection.execute(sa.update(tiles).where(*where).values(hashes=bytes(hashes)))
    return _of_tile(world, row["level"], row["position"], index)


def remove_tile(world: Tampered, connection: sa.Connection) -> Expected:
    found = [row for row in world._rows(connection, tiles) if row["tenant_id"] == world.log]
    row = world.dice.choice(found)
    where = [tiles.c[name] == row[name] for name in ("tenant_id", "level", "position")]
    connection.execute(sa.delete(tiles).where(*where))
    return _of_tile(world, row["level"], row["position"], 0)


def edit_head(world: Tampered, connection: sa.Connection) -> Expected:
    values: dict[str, Any] = world.dice.choice(
        [{"root": world.dice.randbytes(32)}, {"size": world.size + 3}, {"size": world.any_position() or 1}]
    )
    connection.execute(sa.update(logs).where(logs.c.tenant_id == world.log).values(**values))
    position = world.size if values.get("size", 0) > world.size else world.size - 1
    return Expected(("head",), position, 0, world.size + 2)


def edit_checkpoint(world: Tampered, connection: sa.Connection) -> Expected:
    vouched = world.dice.choice(world.given)
    where = (checkpoints.c.tenant_id == world.log, checkpoints.c.size == vouched.size)
    note = connection.execute(sa.select(checkpoints.c.note).where(*where)).scalar_one()
    other = world.dice.choice([one for one in world.given if one != vouched])
    theirs = connection.execute(
        sa.select(checkpoints.c.note).where(checkpoints.c.tenant_id == world.log, checkpoints.c.size == other.size)
    ).scalar_one()
    broken = world.dice.choice([note.replace("=\n\n", "A\n\n"), note[:-10] + "AAAAAAAA=\n", theirs, "", "x\n"])
    connection.execute(sa.update(checkpoints).where(*where).values(note=broken))
    return at(vouched.size - 1, "checkpoint")


def rewrite(world: Tampered, connection: sa.Connection) -> Expected:
    """An event, every hash above it, and the head."""
    position = _change_anyhow(world, connection)
    world.rebuild(connection)
    return Expected(REWRITTEN, position, *world.proved_around(position))


def rewrite_and_sign(world: Tampered, connection: sa.Connection) -> Expected:
    """The same, with checkpoints signed by a key that was made for it, and put among ours."""
    position = _change_anyhow(world, connection)
    private = Ed25519PrivateKey.generate()
    key = VerifierKey(world.origin, private.public_key().public_bytes_raw())
    world.rebuild(connection)
    rows = world.rows(connection)
    for vouched in world.given:
        edge = Edge()
        edge.add([leaf_hash(row["record"]) for row in rows[: vouched.size]])
        if edge.size == vouched.size:
            note = sign(str(Checkpoint(world.origin, vouched.size, edge.root())), key, private.sign)
            where = (checkpoints.c.tenant_id == world.log, checkpoints.c.size == vouched.size)
            connection.execute(sa.update(checkpoints).where(*where).values(note=str(note)))
    found = connection.execute(sa.select(schema.signing_keys).where(schema.signing_keys.c.purpose == "audit"))
    known = dict(found.mappings().first() or {})
    jwk = known["public_jwk"] | {"x": _base64url(key.public_key)}
    planted = {"kid": "A" * 43, "state": "retired", "public_jwk": jwk, "private_key": None, "data_key_id": None}
    connection.execute(sa.insert(schema.signing_keys), known | planted)
    return Expected(REWRITTEN, position, *world.proved_around(position))


def rewrite_leaf_tile(world: Tampered, connection: sa.Connection) -> Expected:
    """An event and its hash, and not what stands above."""
    position = world.any_position(below=world.size - world.size % 256)
    rows = world.rows(connection)
    _set(connection, world, position, record=world.altered(rows[position])["record"])
    world.rebuild(connection, levels=1)
    low, high = world.proved_around(position)
    return Expected(("rewritten", "edited"), position, min(low, position - position % 256), max(high, position))


def replay(world: Tampered, connection: sa.Connection) -> Expected:
    """An event once more, through the inbox: our own service puts it on record."""
    row = world.rows(connection)[world.any_position()]
    connection.execute(sa.insert(schema.audit_inbox), {name: row[name] for name in ("tenant_id", "id", "record")})
    connection.commit()
    world.house.services.sequencer.integrate_all()
    return at(world.size, "duplicate")


def plant(world: Tampered, connection: sa.Connection) -> Expected:
    """Something in the inbox that is no record."""
    forged = {"tenant_id": world.log, "id": uuid.UUID(int=9), "record": world.dice.randbytes(80)}
    connection.execute(sa.insert(schema.audit_inbox), forged)
    connection.commit()
    world.house.services.sequencer.integrate_all()
    return at(world.size, "unreadable")


def edit_payload(world: Tampered, connection: sa.Connection) -> Expected:
    """Personal data of one event, or that of another one instead."""
    rows = [row for row in world.rows(connection) if b'"personal":"' in row["record"]]
    one, other = world.dice.sample(rows, 2)
    sealed = {row["id"]: row["sealed"] for row in world._rows(connection, payloads) if row["tenant_id"] == world.log}
    broken = bytearray(sealed[one["id"]])
    broken[world.dice.randrange(len(broken))] ^= 1
    value = world.dice.choice([sealed[other["id"]], bytes(broken)])
    where = (payloads.c.tenant_id == world.log, payloads.c.id == one["id"])
    connection.execute(sa.update(payloads).where(*where).values(sealed=value))
    return at(one["position"], "payload")


TRICKS: tuple[Trick, ...] = (
    edit_record,
    edit_one_bit,
    edit_columns,
    remove_leaving_a_gap,
    remove_and_close_the_gap,
    remove_as_if_by_age,
    insert_between,
    insert_behind_the_end,
    swap,
    move,
    truncate_rows,
    truncate_everything,
    wipe,
    edit_tile,
    remove_tile,
    edit_head,
    edit_checkpoint,
    rewrite,
    rewrite_and_sign,
    rewrite_leaf_tile,
    replay,
    plant,
    edit_payload,
)


def _change_anyhow(world: Tampered, connection: sa.Connection) -> int:
    """One event altered, removed, inserted, or moved. Answers where the log is another one from."""
    rows, position = world.rows(connection), world.any_position(below=world.size - 1)
    match world.dice.randrange(4):
        case 0:
            rows[position] = world.altered(rows[position])
        case 1:
            del rows[position]
        case 2:
            rows.insert(position, world.forged(rows[position]))
        case _:
            rows[position], rows[position + 1] = rows[position + 1], rows[position]
    world.write(connection, rows)
    return position


def _set(connection: sa.Connection, world: Tampered, position: int, **values: Any) -> None:
    connection.execute(sa.update(events).where(*_at(world, position)).values(**values))


def _at(world: Tampered, position: int) -> tuple[Any, Any]:
    return events.c.tenant_id == world.log, events.c.position == position


def _of_tile(world: Tampered, level: int, position: int, index: int) -> Expected:
    width = 256**level
    first = (position * 256 + index) * width
    return Expected(("tile",), first, position * 256 * width, min(world.size, (position + 1) * 256 * width) - 1)


def to_json(said: dict[str, Any]) -> bytes:
    """As records are written."""
    return json.dumps(said, separators=(",", ":")).encode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def damaged_tree(house: House, tenant_id: uuid.UUID) -> Iterator[None]:
    """A tenant's log with a tree that was changed: within this it takes no events. Afterwards it is what it was."""
    house.services.sequencer.integrate_all()
    engine, ours = house.database.owner(), tiles.c.tenant_id == tenant_id
    with engine.begin() as connection:
        hashes = connection.execute(sa.select(tiles.c.hashes).where(ours)).scalar_one()
        connection.execute(sa.update(tiles).where(ours).values(hashes=bytes(len(hashes))))
    yield
    with engine.begin() as connection:
        connection.execute(sa.update(tiles).where(ours).values(hashes=hashes))
    engine.dispose()
