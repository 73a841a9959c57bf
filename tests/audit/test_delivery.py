"""Checkpoints leave the machine: to a file, to a receiver, to a witness; again and again, in nobody's way."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payymo.audit import sent
from payymo.audit.merkle_proofs import verify_consistency
from payymo.audit.notes import Checkpoint, Note, Signature, SignatureType, VerifierKey, from_base64
from payymo.audit.vouching import split_notes
from payymo.errors import Misconfigured
from payymo.logs import Event, Trace
from tests.support.house import Database, House

Answer = tuple[int, bytes]
YEAR = 365 * 86_400


class Listener:
    """A server on the loopback that remembers what was posted to it."""

    def __init__(self, respond: Callable[[bytes], Answer]) -> None:
        self.respond = respond
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status, answer = outer.respond(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def listening(respond: Callable[[bytes], Answer]) -> Iterator[Listener]:
    listener = Listener(respond)
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def opened(database: Database, **audit: Any) -> Iterator[House]:
    house = House(database, audit=audit)
    try:
        yield house
    finally:
        house.close()


def happen(house: House, count: int = 1) -> str:
    """So many events in the default tenant's log; the note of its newest checkpoint."""
    with house.services.work(house.default.id) as tx:
        for _ in range(count):
            house.services.audit.record(tx, Event("session.refresh", trace=Trace(), reason="rotated"))
    house.services.sequencer.integrate_all()
    house.services.checkpoints.sign_due(at_once=True)
    newest = house.services.checkpoints.newest(house.default.id)
    assert newest is not None
    return newest.note


def test_a_file_gets_each_newest_checkpoint_once(sqlite_database: Database, tmp_path: Path) -> None:
    """It is only added to, and `payymo audit verify --checkpoint` reads it."""
    path = tmp_path / "checkpoints"
    with opened(sqlite_database, checkpoints_to=[f"file:{path}"], every_seconds=10) as house:
        first = happen(house)
        assert house.services.delivery.deliver_due() == 2  # the platform's and the tenant's
        assert house.services.delivery.deliver_due() == 0
        second = happen(house)
        assert house.services.delivery.deliver_due() == 0
        house.clock.advance(10)
        assert house.services.delivery.deliver_due() == 1
        with path.open("rb") as lines:
            notes = [note.decode() for note in split_notes(lines)]
        assert len(notes) == 3
        assert [note for note in notes if note in {first, second}] == [first, second]
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_signed_and_sent_while_the_clock_was_ahead_is_followed_by_the_next(
    database: Database, tmp_path: Path
) -> None:
    """A log that is not signed any more for a year, because of a moment, holds nobody to anything."""
    path = tmp_path / "checkpoints"
    with opened(database, checkpoints_to=[f"file:{path}"], every_seconds=10) as house:
        house.clock.advance(YEAR)
        happen(house)
        assert house.services.delivery.deliver_due() == 2
        house.clock.advance(-YEAR)
        house.services.audit.record_apart(Event("user.unlocked", trace=Trace(), tenant_id=house.default.id))
        house.services.sequencer.integrate_all()
        assert house.services.checkpoints.sign_due() == 1
        assert house.services.delivery.deliver_due() == 1


def test_a_receiver_that_fails_is_left_alone_for_longer_each_time(sqlite_database: Database) -> None:
    """Its lag is told, and when it is back it gets the newest checkpoint alone."""
    answers = {"status": 503}
    with (
        listening(lambda _body: (answers["status"], b"")) as receiver,
        opened(sqlite_database, checkpoints_to=[f"{receiver.origin}/take?of=us"], every_seconds=1) as house,
    ):
        happen(house)
        delivery = house.services.delivery
        assert (delivery.deliver_due(), len(receiver.got)) == (0, 1)  # the other log is not even tried
        [lag] = delivery.lags()
        assert (lag.logs, lag.failures, lag.reason) == (2, 1, "status 503")
        for _ in range(30):
            house.clock.advance(1)
            delivery.deliver_due()
        assert 3 <= len(receiver.got) <= 12
        newest = happen(house)
        answers["status"] = 204
        house.clock.advance(600)
        receiver.got.clear()
        assert delivery.deliver_due() == 2
        assert newest.encode() in [body for _, _, body in receiver.got]
        assert {(path, headers["content-type"]) for path, headers, _ in receiver.got} == {
            ("/take?of=us", "text/plain; charset=utf-8")
        }
        assert delivery.lags()[0].logs == 0


def test_a_receiver_gets_the_token_that_a_secret_holds(sqlite_database: Database) -> None:
    """A newer version of it is read when the older one is refused."""
    with listening(lambda _body: (200, b"")) as receiver:
        receiver.respond = lambda _body: (200 if receiver.got[-1][1].get("authorization") == "Bearer new" else 401, b"")
        with opened(sqlite_database, checkpoints_to=[receiver.origin], bearer_secret="receiver") as house:
            house.services.secrets.put("receiver", b"old", trace=Trace())
            happen(house)
            assert house.services.delivery.deliver_due() == 0
            house.services.secrets.put("receiver", b"new", trace=Trace())
            house.clock.advance(600)
            assert house.services.delivery.deliver_due() == 2


def test_a_secret_that_can_not_be_read_keeps_checkpoints_from_no_other_place(
    sqlite_database: Database, tmp_path: Path
) -> None:
    """It is retired, or Vault is away: that is told of the one place, and what is behind it gets them."""
    path = tmp_path / "checkpoints"
    with (
        listening(lambda _body: (200, b"")) as receiver,
        opened(sqlite_database, checkpoints_to=[receiver.origin, f"file:{path}"], bearer_secret="receiver") as house,
    ):
        happen(house)
        assert house.services.delivery.deliver_due() == 2
        assert [(lag.logs, lag.reason) for lag in house.services.delivery.lags()] == [
            (2, "the bearer secret can't be read (not_found)"),
            (0, None),
        ]
        assert receiver.got == []
        house.services.secrets.put("receiver", b"word", trace=Trace())
        house.clock.advance(600)
        assert house.services.delivery.deliver_due() >= 2
        assert {headers["authorization"] for _, headers, _ in receiver.got} == {"Bearer word"}


class FakeWitness:
    """Signs that a log has only grown (C2SP tlog-witness), with a memory of its own."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.key = VerifierKey(
            "witness.example", self._private.public_key().public_bytes_raw(), SignatureType.COSIGNATURE
        )
        self.seen: dict[str, tuple[int, bytes]] = {}

    def __call__(self, body: bytes) -> Answer:
        head, _, note = body.partition(b"\n\n")
        old, *proof = head.decode().split("\n")
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        size, root = self.seen.get(checkpoint.origin, (0, b""))
        if int(old.removeprefix("old ")) != size:
            return 409, f"{size}\n".encode()
        hashes = tuple(from_base64(line) for line in proof)
        if size and not verify_consistency(size, checkpoint.size, root, checkpoint.root, hashes):
            return 422, b""
        self.seen[checkpoint.origin] = (checkpoint.size, checkpoint.root)
        return 200, self.sign(str(checkpoint)).encode()

    def sign(self, text: str) -> str:
        value = (1_800_000_000).to_bytes(8) + self._private.sign(b"cosignature/v1\ntime 1800000000\n" + text.encode())
        return str(Signature(self.key.name, self.key.id, value))


def test_a_witness_signs_too_and_its_signature_stands_below_the_checkpoint(database: Database) -> None:
    """Asked with the size that it has seen, and once more when it has seen another. Verify and proofs read it."""
    witness = FakeWitness()
    with listening(witness) as server:
        audit = {"checkpoints_to": [f"witness+{server.origin}/w/"], "witness_keys": [str(witness.key)]}
        with opened(database, **audit, every_seconds=1) as house:
            happen(house, 3)
            assert house.services.delivery.deliver_due() == 2
            happen(house, 300)
            house.clock.advance(1)
            assert house.services.delivery.deliver_due() == 1
            assert {path for path, _, _ in server.got} == {"/w/add-checkpoint"}
            newest = house.services.checkpoints.newest(house.default.id)
            assert newest is not None
            verified = Note.parse(newest.note.encode()).verify([witness.key])
            assert [by.time for by in verified] == [1_800_000_000]
            house.services.checkpoints.vouchers().open(newest.note.encode(), house.default.id)
            # It has been asked by somebody else meanwhile, and says so.
            happen(house, 5)
            with house.services.work.platform() as tx:
                [due] = sent.list_due(tx, audit["checkpoints_to"][0], now=2**40, count=9)
                sent.put(tx, audit["checkpoints_to"][0], due, size=2, sent_at=None, next_try_at=0)
            assert house.services.delivery.deliver_due() == 1


def test_a_witness_that_has_seen_more_than_there_is_stops_nothing_else(sqlite_database: Database) -> None:
    """That is what it is for: the log was cut off. It is told as the reason, and the other log goes through."""
    witness = FakeWitness()
    with listening(witness) as server:
        audit = {"checkpoints_to": [f"witness+{server.origin}"], "witness_keys": [str(witness.key)]}
        with opened(sqlite_database, **audit) as house:
            happen(house)
            witness.seen[house.services.checkpoints.origin(house.default.id)] = (1000, bytes(32))
            assert house.services.delivery.deliver_due() == 1
            [lag] = house.services.delivery.lags()
            assert (lag.logs, lag.reason) == (1, "it has seen a larger log (1000)")


def test_what_is_no_signature_of_the_witness_is_not_kept(sqlite_database: Database) -> None:
    """Neither another's nor one of another text."""
    witness, stranger = FakeWitness(), FakeWitness()
    with listening(lambda body: (200, stranger.sign(body.decode()).encode())) as server:
        audit = {"checkpoints_to": [f"witness+{server.origin}"], "witness_keys": [str(witness.key)]}
        with opened(sqlite_database, **audit) as house:
            before = happen(house)
            assert house.services.delivery.deliver_due() == 0
            server.respond = lambda _body: (200, witness.sign("something else\n").encode())
            house.clock.advance(600)
            assert house.services.delivery.deliver_due() == 0
            newest = house.services.checkpoints.newest(house.default.id)
            assert newest is not None
            assert newest.note == before


@pytest.mark.parametrize(
    "uri", ["file:relative", "ftp://x/y", "http://receiver.example/", "witness+https://w.example", "https://"]
)
def test_an_address_that_is_none_is_refused_at_the_start(sqlite_database: Database, uri: str) -> None:
    """Plain http to another machine is none; nor is a witness without a key."""
    with pytest.raises(Misconfigured) as refusal, opened(sqlite_database, checkpoints_to=[uri]):
        pass
    assert "PAYYMO_AUDIT__CHECKPOINTS_TO" in refusal.value.reasons[0]
