"""The outbox and its courier: what is committed is sent, by a real mail server, however often somebody dies."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.db import schema
from payymo.errors import NotFound
from payymo.logs import Trace
from payymo.mail import store
from payymo.mail.model import Message, Sender
from payymo.mail.transports import NotSent
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.mail import SENDER, MailServer, deliver, mail_server, text_of
from tests.support.moments import Killed

YEAR = 365 * 86_400
NOTICE = Message("password-changed", "alice@example.com", {"when": "1800000000"})


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server without TLS, on the loopback."""
    with mail_server() as found:
        yield found


@pytest.fixture
def house(database: Database, server: MailServer) -> Iterator[House]:
    """A service that sends its mail there."""
    built = House(database, mail=server.settings())
    yield built
    built.close()


def put(house: House, *messages: Message) -> None:
    with house.services.work(house.default.id) as tx:
        for message in messages or (NOTICE,):
            house.services.outbox.put(tx, message)


def put_and_die(house: House) -> None:
    with house.services.work(house.default.id) as tx:
        house.services.outbox.put(tx, NOTICE)
        raise Killed


def waiting(house: House) -> tuple[Any, ...]:
    return house.services.outbox.list_waiting(house.default.id)


def told(house: House) -> list[tuple[str, str | None]]:
    return [(found["event"], found.get("reason")) for found in house.events() if found["event"].startswith("mail.")]


def test_a_burst_is_sent_also_when_the_database_knows_how_small_the_outbox_is(
    postgres_database: Database, server: MailServer
) -> None:
    """As after every autovacuum: whatever plan PostgreSQL takes then, one message is claimed at a time."""
    house = House(postgres_database, mail=server.settings())
    owner = postgres_database.owner()
    for count in (1, 3, 5):
        put(house, *[NOTICE] * count)
        with owner.begin() as connection:
            connection.execute(sa.text("ANALYZE mails"))
        assert deliver(house) == count
    assert len(server.received) == 9
    owner.dispose()
    house.close()


def test_what_is_committed_is_sent_once_and_gone(house: House, server: MailServer) -> None:
    """Text and HTML say the same; nothing of it stays behind."""
    put(house)
    assert deliver(house) == 1
    assert deliver(house) == 0
    [mail] = server.received
    assert (mail["To"], mail["From"]) == ("alice@example.com", "Payymo <no-reply@payymo.example>")
    assert mail["Subject"] == "Your password was changed"
    page = mail.get_body(("html",))
    assert page is not None
    assert "at 15 Jan 2027, 08:00 UTC" in text_of(mail)
    assert "at 15 Jan 2027, 08:00 UTC" in page.get_content()
    assert waiting(house) == ()
    assert told(house) == [("mail.sent", None)]


def test_what_was_written_or_claimed_while_the_clock_was_ahead_is_sent(house: House, server: MailServer) -> None:
    """As soon as the clock is right: nobody waits for a year because it was that far ahead for a moment."""
    house.clock.advance(YEAR)
    put(house)
    with house.services.work.platform() as tx:
        now = int(house.clock.now)
        assert store.claim(tx, now=now, until=now + 60) is not None  # by a process that dies
    put(house)
    house.clock.advance(-YEAR)
    assert deliver(house) == 2
    assert len(server.received) == 2


def test_what_is_rolled_back_is_not_sent(house: House, server: MailServer) -> None:
    """A letter tells of what happened."""
    with pytest.raises(Killed):
        put_and_die(house)
    assert deliver(house) == 0
    assert server.received == []


def test_a_message_lies_there_sealed(house: House) -> None:
    """Invariant 17: a link in the outbox is good for nobody who reads the database, and no other row opens it."""
    put(house, Message("reset-password", "alice@example.com", {"link": "https://x/#token=SECRET", "life": "3600"}))
    owner = house.database.owner()
    with owner.connect() as connection:
        [row] = connection.execute(sa.select(schema.mails))
    owner.dispose()
    assert b"SECRET" not in row.sealed
    assert b"alice" not in row.sealed
    assert "SECRET" not in repr(tuple(row))


def test_who_dies_after_sending_sends_again_under_the_same_name(house: House, server: MailServer) -> None:
    """At least once: the second one is byte for byte the first, so that a mailbox tells that it has it already."""
    put(house)
    courier = house.services.courier
    send = courier._transport.send

    def die(mail: Any) -> None:
        send(mail)
        raise Killed

    courier._transport.send = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        courier.deliver_due()
    courier._transport.send = send  # type: ignore[method-assign]
    house.clock.advance(courier._policy.claim_seconds - 1)
    assert deliver(house) == 0  # it may be under way yet
    house.clock.advance(1)
    assert deliver(house) == 1
    first, second = server.received
    assert first.as_bytes() == second.as_bytes()
    assert first["Message-ID"].endswith("@payymo.example>")


def test_several_couriers_send_each_message_once(house: House, server: MailServer) -> None:
    """Two nodes with two threads each: none is sent twice, none is left."""
    other = House(house.database, clock=house.clock, mail=server.settings())
    put(house, *(Message("test", f"user{number}@example.com") for number in range(20)))
    with Crew(4) as crew:
        list(crew.map(lambda one: one.services.courier.deliver_due(), [house, other, house, other]))
    deliver(house)
    other.close()
    assert sorted(server.recipients) == sorted(f"user{number}@example.com" for number in range(20))


@pytest.mark.parametrize(
    ("command", "answer", "reason"),
    [
        ("RCPT", "451 come again", "recipient-451"),
        ("RCPT", "421 closing", "recipient-421"),
        ("RCPT", "drop", "disconnected"),
        ("DATA", "451 come again", "data-451"),
        ("DATA", "hang", "disconnected"),
        ("DATA", "drop", "disconnected"),
    ],
)
def test_what_fails_for_now_is_tried_again(
    sqlite_database: Database, server: MailServer, command: str, answer: str, reason: str
) -> None:
    """Refused for now, hung up on, not answered: later and later, until it is taken."""
    patience = {"timeout_seconds": 1} if answer == "hang" else {}
    house = House(sqlite_database, mail=server.settings(**patience))
    server.answers[command] = [answer, answer]
    put(house)
    assert deliver(house) == 1
    [found] = waiting(house)
    assert (found.attempts, found.reason, found.failed_at) == (1, reason, None)
    assert 2 <= found.due_at - house.clock.now <= 5
    house.clock.now = found.due_at - 1
    assert deliver(house) == 0
    house.clock.now = found.due_at
    assert deliver(house) == 1
    [found] = waiting(house)
    assert 5 <= found.due_at - house.clock.now <= 10
    house.clock.now = found.due_at
    assert deliver(house) == 1
    assert server.recipients == ["alice@example.com"]
    assert told(house) == [("mail.delayed", reason), ("mail.delayed", reason), ("mail.sent", None)]
    house.close()


@pytest.mark.parametrize(("command", "reason"), [("RCPT", "recipient-550"), ("DATA", "data-550")])
def test_what_is_refused_for_good_is_given_up_until_the_operator_says_so(
    sqlite_database: Database, server: MailServer, command: str, reason: str
) -> None:
    """5xx: nobody is asked a second time, but the message is there to be tried again, as long as it is of use."""
    house = House(sqlite_database, mail=server.settings())
    server.answers[command] = ["550 never"]
    put(house)
    deliver(house)
    [found] = waiting(house)
    assert (found.reason, found.failed_at) == (reason, house.clock.now)
    house.clock.advance(3600)
    assert deliver(house) == 0
    assert house.services.outbox.retry(house.default.id, found.id) == 1
    assert deliver(house) == 1
    assert len(server.received) == 1
    with pytest.raises(NotFound):
        house.services.outbox.retry(house.default.id, found.id)
    house.close()


@pytest.mark.parametrize("what", ["new", "claimed", "postponed"])
def test_what_was_put_there_while_the_clock_was_ahead_does_not_wait_for_it(
    house: House, server: MailServer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does what somebody died with, or could not send. What waits by a clock that is right goes on waiting."""
    right = house.clock.now
    for ahead, count in ((0, 0), (2 * 3600, 2)):  # then also what waited by the right one
        house.clock.now = right + ahead
        put(house)
        if what == "postponed":
            monkeypatch.setattr(house.services.courier._transport, "send", _fail)
            deliver(house)
            monkeypatch.undo()
        elif what == "claimed":
            assert house.services.courier._claim() is not None
        house.clock.now = right
        house.services.outbox.prune()
        assert deliver(house) == (1 if what == "new" else count)
    assert len(server.received) == 2


def _fail(_mail: Any) -> None:
    raise NotSent("connect")


def test_what_is_of_no_use_any_more_is_given_up_and_forgotten(sqlite_database: Database) -> None:
    """Nobody listens: tried until the message expires, to the second, and then forgotten."""
    with mail_server() as gone:
        settings = gone.settings()
    house = House(sqlite_database, mail=settings)
    put(house, Message("test", "alice@example.com", live_seconds=600))
    expires_at = house.clock.now + 600
    while not (found := waiting(house)[0]).failed_at:
        house.clock.now = max(found.due_at, house.clock.now)
        assert house.clock.now < expires_at
        deliver(house)
    assert found.reason == "connect"
    assert found.attempts >= 5
    house.clock.now = expires_at - 1
    assert house.services.outbox.prune() == 0
    house.clock.now = expires_at
    assert house.services.outbox.prune() == 1
    assert waiting(house) == ()
    house.close()


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
def test_mail_goes_out_encrypted_and_after_a_login(sqlite_database: Database, tmp_path: Path, implicit: bool) -> None:  # noqa: FBT001
    """By STARTTLS and by TLS from the start, with a certificate that is checked."""
    with mail_server(tmp_path, implicit=implicit) as server:
        house = House(sqlite_database, mail=server.settings(tls="implicit" if implicit else "starttls"))
        put(house)
        deliver(house)
        assert len(server.received) == 1
        assert server.logins == ["payymo"]
        assert implicit or server.were_encrypted == [True]
        house.close()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_password_may_have_any_letters(sqlite_database: Database, tmp_path: Path, tls: str) -> None:
    """RFC 4616 §2 says UTF-8; Python takes ASCII alone, and each mail failed as `internal`."""
    with mail_server(tmp_path, implicit=tls == "implicit") as server:
        server.secret = "Käse für Ωmega"
        for password, reasons in (("Käse", ["authentication-535"]), (server.secret, [])):
            house = House(sqlite_database, mail=server.settings(tls=tls, password=password))
            put(house)
            deliver(house)
            assert [found.reason for found in waiting(house)] == reasons
            house.services.outbox.retry(house.default.id, None)
            house.close()
        assert server.logins == ["payymo", "payymo", "payymo"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ca_file": None}, "tls"),
        ({"host": "127.0.0.1"}, "tls"),
        ({"password": "another"}, "authentication-535"),
        ({"user": None, "password": None}, "answer-530"),
    ],
    ids=["unknown authority", "another name", "wrong password", "no password"],
)
def test_a_server_that_can_not_be_trusted_gets_nothing(
    sqlite_database: Database, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    """What the operator may mend is no reason to give up."""
    with mail_server(tmp_path) as server:
        house = House(sqlite_database, mail=server.settings(**change))
        put(house)
        deliver(house)
        assert server.received == []
        assert [(found.reason, found.failed_at) for found in waiting(house)] == [(reason, None)]
        house.close()


def test_a_server_without_starttls_sees_neither_mail_nor_password(
    sqlite_database: Database, server: MailServer
) -> None:
    """Whoever strips STARTTLS from the answer gets nothing (RFC 3207 §6)."""
    house = House(sqlite_database, mail=server.settings(tls="starttls", user="u", password="p"))
    put(house)
    deliver(house)
    assert server.received == []
    assert server.logins == []
    assert [found.reason for found in waiting(house)] == ["starttls-missing"]
    house.close()


def test_a_tenants_mail_goes_out_in_its_own_name(house: House, server: MailServer) -> None:
    """And nobody else's does; a sender that could smuggle a header in is none."""
    other = house.tenant("other")
    house.services.outbox.set_sender(other.id, Sender("help@other.example", "Other, Inc."), trace=Trace())
    put(house)
    with house.services.work(other.id) as tx:
        house.services.outbox.put(tx, NOTICE)
    deliver(house)
    assert {str(mail["From"]) for mail in server.received} == {
        "Payymo <no-reply@payymo.example>",
        '"Other, Inc." <help@other.example>',
    }
    house.services.outbox.set_sender(other.id, None, trace=Trace())
    assert house.services.outbox.sender_of(other.id).address == "no-reply@payymo.example"


def test_where_no_mail_is_sent_none_is_written(sqlite_house: House) -> None:
    """Without mail settings everything is as if there were no mail."""
    put(sqlite_house)
    assert waiting(sqlite_house) == ()
    assert not sqlite_house.services.outbox.is_on


def test_messages_open_after_everything_was_sealed_again(house: House, server: MailServer) -> None:
    """The outbox is among what re-encryption seals again: the old data key goes, the letter arrives."""
    put(house)
    done = house.services.reencryption.run(
        progress=lambda *_: None, pause=lambda _: None, trace=Trace(), whatever_age=True
    )
    assert done.values >= 1
    house.clock.advance(5)
    assert deliver(house) == 1
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("piece", "pause"), [(b"220-x\r\n", 0.2), (b"2", 0.2), (b"220-x\r\n" * 1000, 0.0)], ids=["lines", "octets", "flood"]
)
def test_an_answer_has_a_time_and_an_end(sqlite_database: Database, piece: bytes, pause: float) -> None:
    """Who holds senders up octet by octet held the courier, and after its time those of all other processes, too."""

    def greet() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while True:
                connection.sendall(piece)
                time.sleep(pause)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, daemon=True).start()
        known = {"host": "127.0.0.1", "port": listener.getsockname()[1], "timeout_seconds": 1, "tls": "off"}
        house = House(sqlite_database, mail=known | SENDER)
        put(house)
        began = time.monotonic()
        deliver(house)
        assert time.monotonic() - began < 5
        assert [found.reason for found in waiting(house)] == ["disconnected"]
        house.close()


def test_who_is_told_to_stop_begins_with_no_other_letter(sqlite_database: Database, server: MailServer) -> None:
    """Invariant 21: of a server that hangs, it waited for the answer to each letter that was due, for minutes."""
    house = House(sqlite_database, mail=server.settings(timeout_seconds=1))
    server.answers["RCPT"] = ["hang"] * 4
    put(house, *[NOTICE] * 4)
    house.services.courier.start()
    deadline = time.monotonic() + 20
    while not any(found.attempts for found in waiting(house)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    house.services.courier.stop()
    assert sorted(found.attempts for found in waiting(house)) == [0, 0, 0, 1]
    house.close()


def test_a_running_courier_sends_by_itself(house: House, server: MailServer) -> None:
    """As in a worker: within a moment of the commit, and what is under way is finished before it stops."""
    house.services.courier.start()
    put(house)
    for _ in range(100):
        if server.received:
            break
        house.services.courier._stopping.wait(0.1)
    house.services.courier.stop()
    assert len(server.received) == 1
    assert waiting(house) == ()
