"""`payymo mail` and `payymo user force-reset`, as an operator runs them."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from payymo.cli import payymo
from payymo.mail.model import Message
from tests.support.house import Database, House
from tests.support.mail import SENDER, MailServer, deliver, mail_server
from tests.support.processes import environment


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server on the loopback."""
    with mail_server() as found:
        yield found


def run(database: Database, *words: str, mail: MailServer | None = None, exits: int = 0) -> Any:
    """What a command says, as JSON."""
    more = {} if mail is None else {
        "PAYYMO_MAIL__HOST": "localhost",
        "PAYYMO_MAIL__PORT": str(mail.port),
        "PAYYMO_MAIL__TLS": "off",
        "PAYYMO_MAIL__SENDER": SENDER["sender"],
    }  # fmt: skip
    given = environment(database, **more)
    gone = {name: None for name in os.environ if name.startswith("PAYYMO_") and name not in given}
    done = CliRunner().invoke(payymo, [*words, "--json"], env=given | gone)
    assert done.exit_code == exits, done.output
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_an_operator_sends_a_test_and_is_told_why_it_failed(sqlite_database: Database, server: MailServer) -> None:
    """0: the server has taken it; 1: it has not, or there is none."""
    sent = run(sqlite_database, "mail", "test", "a@example.com", mail=server)
    assert sent == {"sent": True, "to": "a@example.com", "from": "Payymo <no-reply@payymo.example>"}
    server.answers["RCPT"] = ["550 nobody here"]
    failed = run(sqlite_database, "mail", "test", "a@example.com", mail=server, exits=1)
    assert failed == {"sent": False, "reason": "recipient-550"}
    assert "sends no mail" in run(sqlite_database, "mail", "test", "a@example.com", exits=1)
    assert "an e-mail address" in run(sqlite_database, "mail", "test", "a@b@c", mail=server, exits=1)
    assert server.recipients == ["a@example.com"]


def test_an_operator_sees_what_is_stuck_and_tries_it_again(sqlite_database: Database, server: MailServer) -> None:
    """Nothing of what a message says is shown."""
    house = House(sqlite_database, mail=server.settings())
    server.answers["RCPT"] = ["550 nobody here"]
    with house.services.work(house.default.id) as tx:
        house.services.outbox.put(tx, Message("test", "a@example.com", live_seconds=10**9))
    deliver(house)
    [found] = run(sqlite_database, "mail", "list")
    assert (found["kind"], found["reason"], found["attempts"]) == ("test", "recipient-550", 1)
    assert "example.com" not in json.dumps(found)
    assert run(sqlite_database, "mail", "retry", found["id"], mail=server) == {"due_again": 1}
    assert run(sqlite_database, "mail", "retry", mail=server) == {"due_again": 0}
    assert "No message" in run(sqlite_database, "mail", "retry", found["id"], exits=1)
    house.close()


def test_a_tenant_gets_a_sender_of_its_own(sqlite_database: Database, server: MailServer) -> None:
    """And gives it back."""
    own = {"address": "help@acme.example", "name": "Acme"}
    assert run(sqlite_database, "mail", "sender", "set", "help@acme.example", "--name", "Acme", mail=server) == own
    assert run(sqlite_database, "mail", "sender", "show", mail=server) == own
    run(sqlite_database, "mail", "test", "a@example.com", mail=server)
    assert str(server.received[0]["From"]) == "Acme <help@acme.example>"
    assert run(sqlite_database, "mail", "sender", "reset", mail=server)["address"] == SENDER["sender"]
    assert "address" in run(sqlite_database, "mail", "sender", "set", "x", "--name", "Acme", exits=1)


def test_an_operator_forces_a_reset(sqlite_database: Database, server: MailServer) -> None:
    """Asked first; the old password is refused at once, and a link is on its way."""
    house = House(sqlite_database, mail=server.settings())
    user = house.user("alice")
    assert "Aborted" in run(sqlite_database, "user", "force-reset", "alice@example.com", mail=server, exits=1)
    assert house.client().log_in().status_code == 200
    done = run(sqlite_database, "user", "force-reset", "alice@example.com", "--yes", mail=server)
    assert done == {"user_id": str(user.id), "mail_sent": True}
    assert house.client().log_in().status_code == 401
    house.clock.now = 2e9  # the command wrote by the real clock; its letter is due by now
    assert [found["kind"] for found in run(sqlite_database, "mail", "list")] == ["password-forced"]
    house.close()
