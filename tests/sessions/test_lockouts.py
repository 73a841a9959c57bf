"""What users hear of guesses at their password, by mail."""

import pytest
import sqlalchemy as sa

from payymo.db.schema import data_keys
from payymo.logs import Trace
from payymo.mail.model import Message
from payymo.secrets.encryption import SealBroken
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import deliver, mail_server, text_of
from tests.support.moments import Killed
from tests.support.surfer import Surfer


def test_a_user_hears_of_who_tries_their_password_from_within(database: Database) -> None:
    """Somebody has a session, and not the password: on record by name, and told with what ends that session."""
    with mail_server() as server:
        house = House(database, lockout={"enabled": True, "failures": 1, "stop": 2}, mail=server.settings())
        alice, bob = house.user("alice"), house.user("bob")
        thief = house.logged_in()
        wrong = {"current_password": "wrong password 1", "new_password": "another fine Passw0rd"}
        for status in (401, 429):
            assert thief.post("/api/auth/password/change", wrong).status_code == status
        house.clock.advance(30)
        assert thief.post("/api/auth/password/change", wrong).status_code == 401
        assert house.client().log_in("bob@example.com", "wrong password 1").status_code == 401
        house.services.do_duties(Trace())
        deliver(house)
        told = {str(mail["To"]): " ".join(text_of(mail).split()) for mail in server.received}
        assert set(told) == {"alice@example.com", "bob@example.com"}
        assert ["logged in to your account" in told[to] for to in sorted(told)] == [True, False]
        steps = [(one["event"], one["user_id"], one.get("reason")) for one in house.events() if "user_id" in one]
        for expected in (
            ("login.waits", str(alice.id), "logged-in"),
            ("login.stopped", str(alice.id), "logged-in"),
            ("login.waits", str(bob.id), None),
        ):
            assert expected in steps
        another = house.logged_in()  # nobody is kept from logging in; a new session has no new tries
        assert another.post("/api/auth/password/change", wrong | {"current_password": PASSWORD}).status_code == 429
        house.close()


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


def stop(house: House, email: str = "alice@example.com") -> None:
    """What strangers do: until nobody unknown is admitted."""
    while house.client().log_in(email, "wrong password 1").status_code == 401:
        house.clock.advance(3600)
    assert house.client().log_in(email).status_code == 429


@pytest.mark.parametrize("act", ["unlock", "password/reset/confirm", "email/verify"])
def test_who_opens_a_link_gets_in_however_often_strangers_try(database: Database, act: str) -> None:
    """Nobody locks an owner out who reads their mail: the browser in which they open it is known from then on."""
    with mail_server() as server:
        registration = {"verify_email": "required" if act == "email/verify" else "off"}
        lockout = {"enabled": True, "failures": 1, "stop": 3}
        house = House(database, lockout=lockout, registration=registration, mail=server.settings())
        owner, stranger, password = house.client(), house.client(), PASSWORD
        if act == "email/verify":
            owner.register()
        else:
            house.user("alice")
            stop(house)
        if act == "password/reset/confirm":
            owner.post("/api/auth/password/reset", {"email": "alice@example.com"})
            password = "another fine Passw0rd"
        elif act == "unlock":
            house.services.do_duties(Trace())
        deliver(house)
        body = {"token": server.links()[-1]} | ({} if password == PASSWORD else {"new_password": password})
        refused = stranger.post(f"/api/auth/{act}", body | {"token": f"{body['token']}x"})
        assert (refused.status_code, refused.headers.getlist("Set-Cookie")) == (422, [])
        assert owner.post(f"/api/auth/{act}", body).status_code == 200
        stop(house)
        assert owner.log_in(password=password).status_code == 200
        assert stranger.log_in(password=password).status_code == 429
        house.close()


def test_a_page_knows_the_browser_too_in_which_a_link_is_opened(sqlite_database: Database) -> None:
    """As the route does, and in the tenant of the link."""
    with mail_server() as server:
        house = House(sqlite_database, lockout={"enabled": True, "failures": 1, "stop": 3}, mail=server.settings())
        acme = house.tenant("acme")
        house.user("alice", tenant=acme)
        owner, stranger = Surfer(house, tenant="acme"), house.client(tenant="acme")
        stranger.post("/api/auth/password/reset", {"email": "alice@example.com"})
        deliver(house)
        owner.get("/reset-password")
        link = f"https://payymo.example/#token={server.links()[-1]}&tenant=acme"
        assert owner.submit("/reset-password", token=link, new_password="another fine Passw0rd").status_code == 200
        for status in (401, 429):
            assert stranger.log_in(password="another fine Passw0rd" if status == 429 else "wrong").status_code == status
        assert owner.sign_in(password="another fine Passw0rd").status_code == 200
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
