"""What users hear of guesses at their password, by mail."""

import pytest
import sqlalchemy as sa

from payymo.db.schema import data_keys
from payymo.logs import Trace
from payymo.mail.model import Message
from payymo.secrets.encryption import SealBroken
from tests.support.house import Database, House
from tests.support.mail import deliver, mail_server, text_of
from tests.support.moments import Killed


def test_a_user_hears_of_guesses_once_a_day_and_of_the_stop_at_once(database: Database) -> None:
    """One letter for the waits of a day, one for the stop with a link that unlocks once; for nobody none."""
    with mail_server() as server:
        house = House(database, lockout={"enabled": True, "failures": 1, "stop": 4}, mail=server.settings())
        house.user("alice")
        for _ in range(3):
            for email in ("alice@example.com", "nobody@example.com"):
                assert house.client().log_in(email, "wrong password 1").status_code == 401
            house.services.do_duties(Trace())
            house.clock.advance(3600)
        deliver(house)
        assert [mail["Subject"] for mail in server.received] == ["Somebody tries passwords on your account"]
        house.client().log_in(password="wrong password 1")
        for _ in range(2):
            house.services.do_duties(Trace())
            deliver(house)
        assert server.recipients == ["alice@example.com"] * 2
        assert server.received[1]["Subject"] == "Your account is locked"
        assert "15 Jan 2027, 11:00 UTC" in text_of(server.received[1])
        token = server.links()[-1]
        assert house.client().log_in().status_code == 429
        assert house.client().post("/api/auth/unlock", {"token": f"{token}x"}).status_code == 422
        assert [house.client().post("/api/auth/unlock", {"token": token}).status_code for _ in range(2)] == [200, 422]
        assert house.client().log_in().status_code == 200
        house.close()


def test_a_deletion_that_was_killed_keeps_nobody_elsewhere_from_hearing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are gone, so that no letter can be written there; and nobody finishes it before an operator does."""
    with mail_server() as server:
        house = House(database, lockout={"enabled": True, "failures": 1}, mail=server.settings())
        acme = house.tenant("acme")
        for tenant in (acme, house.default):
            house.user("alice", tenant=tenant)
            house.client(tenant=tenant.slug).log_in(password="wrong password 1")
        house.services.administration.suspend(acme.id, by=None, trace=Trace())

        def killed(*_args: object, **_options: object) -> None:
            raise Killed

        monkeypatch.setattr(house.services.tenants, "delete_rows", killed)
        with pytest.raises(Killed):
            house.services.administration.delete_tenant(acme.id, by=None, progress=lambda _: None, trace=Trace())
        house.clock.advance(2)
        house.services.do_duties(Trace())
        deliver(house)
        assert server.recipients == ["alice@example.com"]
        house.close()


def test_letters_that_can_not_be_sealed_keep_nobody_elsewhere_from_hearing(sqlite_database: Database) -> None:
    """Somebody has changed its data key: it comes first at each look, and all others would never hear."""
    with mail_server() as server:
        known = {"lockout": {"enabled": True, "failures": 1}, "mail": server.settings()}
        house = House(sqlite_database, **known)
        acme = house.tenant("acme")
        with house.services.work(acme.id) as tx:
            house.services.outbox.put(tx, Message("test", "alice@example.com"))
        deliver(house)
        for tenant in (acme, house.default):
            house.user("alice", tenant=tenant)
            house.client(tenant=tenant.slug).log_in(password="wrong password 1")
            house.clock.advance(1)
        owner = sqlite_database.owner()
        with owner.begin() as connection:
            wrapped = sa.update(data_keys).where(data_keys.c.tenant_id == acme.id, data_keys.c.purpose == "mails")
            assert connection.execute(wrapped.values(wrapped=b"changed")).rowcount == 1
        owner.dispose()
        server.received.clear()
        server.recipients.clear()
        again = House(sqlite_database, **known)
        with pytest.raises(SealBroken):
            again.services.do_duties(Trace())
        deliver(again)
        assert server.recipients == ["alice@example.com"]
        for one in (house, again):
            one.close()
