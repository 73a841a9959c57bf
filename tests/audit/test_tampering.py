"""Invariant 8: whatever somebody does who may write everywhere in the database, it is found, and where it was done."""

import json
import random  # noqa: TID251 - dice that are seeded
import uuid

import pytest
import sqlalchemy as sa

from payymo.audit.verification import Question
from payymo.audit.vouching import Vouchers
from payymo.db.schema import audit_inbox
from payymo.logs import Trace
from tests.support.house import House
from tests.support.tampering import (
    TRICKS,
    Tampered,
    events,
    logs,
    rewrite,
    rewrite_and_sign,
    to_json,
    truncate_everything,
)

PER_DATABASE = 46
SEED = 6


def test_every_edit_is_found_and_located(house: House) -> None:
    """Each kind at least twice on each database, at places that seeded dice choose; afterwards all is as it was."""
    with Tampered(house, count=600, seed=SEED) as world:
        assert world.verify().is_intact
        assert world.verify().caveats() == ()
        tricks = list(TRICKS) * (PER_DATABASE // len(TRICKS))
        random.Random(SEED).shuffle(tricks)
        for trick in tricks:
            with world.afterwards_as_before() as connection:
                expected = trick(world, connection)
                connection.commit()
                report = world.verify()
            assert expected.matches(report), (trick.__name__, expected, report.findings)
        assert world.verify().is_intact


@pytest.mark.timeout(30)
@pytest.mark.parametrize("said", ["an event", "an event, and another edited", "a size", "a size and a beginning"])
def test_a_check_ends_however_large_somebody_says_that_the_log_is(house: House, said: str) -> None:
    """A number is written down quickly, and 2**62 positions are more pages than anybody waits for."""
    far = 2**62
    with Tampered(house, count=40) as world, world.afterwards_as_before() as connection:
        rows = world.rows(connection)
        if "event" in said:
            connection.execute(sa.insert(events), rows[-1] | {"position": far})
        else:
            values = {"size": far, "first": far} if "beginning" in said else {"size": far}
            connection.execute(sa.update(logs).where(logs.c.tenant_id == world.log).values(**values))
        if "edited" in said:
            record = world.altered(rows[7])["record"]
            here = sa.and_(events.c.tenant_id == world.log, events.c.position == 7)
            connection.execute(sa.update(events).where(here).values(record=record))
        connection.commit()
        for outside in (True, False):
            first, *_ = world.verify(outside=outside).findings
            assert first.kind == ("edited" if "edited" in said else "inserted" if "event" in said else first.kind)


def test_without_a_checkpoint_from_outside_it_says_what_it_can_not_promise(sqlite_house: House) -> None:
    """A log that was cut off at an older signed head is whole by itself: only who has a newer one can tell."""
    with Tampered(sqlite_house, count=60) as world, world.afterwards_as_before() as connection:
        truncate_everything(world, connection)
        connection.commit()
        report = world.verify(outside=False)
        assert report.is_intact
        assert any("no checkpoint from outside" in caveat for caveat in report.caveats())
        assert any("keys" in caveat for caveat in report.caveats())
        assert not world.verify().is_intact


def test_what_a_kept_checkpoint_covers_is_not_read_again(sqlite_house: House) -> None:
    """`--since` reads what came after it. When the tree is not the one that was signed, everything."""
    with Tampered(sqlite_house, count=120) as world:
        since, services = world.given[-2], sqlite_house.services
        question, vouchers = Question(world.log, (since,), since), services.checkpoints.vouchers(world.keys)
        report = services.verification.verify(question, vouchers)
        assert (report.is_intact, report.checked) == (True, world.size - since.size)
        with world.afterwards_as_before() as connection:
            position = rewrite(world, connection).position
            connection.commit()
            [found] = [
                one for one in services.verification.verify(question, vouchers).findings if one.kind == "rewritten"
            ]
            assert found.first <= position <= found.last


def test_a_key_of_the_database_is_not_believed_when_others_were_kept(sqlite_house: House) -> None:
    """Whoever can write there can put one of their own among ours: to keep the keys is what helps."""
    with Tampered(sqlite_house, count=60) as world, world.afterwards_as_before() as connection:
        rewrite_and_sign(world, connection)
        connection.commit()
        assert {finding.kind for finding in world.verify().findings} >= {"checkpoint"}


def test_what_a_stolen_key_has_signed_proves_nothing(house: House) -> None:
    """A revoked key speaks for no log any more: heads that only it has signed are signed anew, and it is ignored."""
    with Tampered(house, count=60) as world:
        services = house.services
        stolen = services.ring.active_kid("audit")
        before = services.checkpoints.newest(world.log)
        services.administration.revoke_key(stolen, keep_sessions=True, trace=Trace())
        services.sequencer.integrate_all()
        vouchers = services.checkpoints.vouchers()
        report = services.verification.verify(Question(world.log), vouchers)
        assert [finding.kind for finding in report.findings] == ["checkpoint"]
        services.checkpoints.sign_due(at_once=True)
        after = services.checkpoints.newest(world.log)
        assert before is not None
        assert after is not None
        assert (after.size, after.note != before.note) == (before.size, True)
        report = services.verification.verify(Question(world.log), vouchers)
        assert (report.is_intact, report.signed, report.checkpoints) == (True, world.size, 1)


@pytest.mark.parametrize("note", ["", "no name", "no name\n1\nAAAA\n\n\N{EM DASH} no name AAAA\n"])
def test_what_no_log_is_called_is_signed_by_no_key_that_was_stolen(sqlite_house: House, note: str) -> None:
    """Somebody has put it where the newest checkpoint of one log stands; the logs of all others are signed, too."""
    services = sqlite_house.services
    keys = [key.public_key for key in services.checkpoints.verifier_keys(None)]
    assert Vouchers([], keys).is_revoked(note.encode()) is False


def test_what_was_removed_by_age_is_no_finding(sqlite_house: House) -> None:
    """The log says so itself; the tiles have the leaves that are gone, and they count for every root.

    Whoever can write to the database can write that, too, as here: that is not promised, and said.
    """
    with Tampered(sqlite_house, count=300) as world:
        services = sqlite_house.services
        with services.work.platform() as tx, world.engine.connect() as connection:
            said = json.loads(world.rows(connection)[-1]["record"])  # as retention writes it, elsewhere
            said |= {"id": str(uuid.UUID(int=5)), "type": "audit.removed", "new": {"from": 0, "to": 270, "root": "00"}}
            said.pop("personal", None)
            del said["about"]["user_id"]
            tx.write_last(audit_inbox, {"tenant_id": world.log, "id": uuid.UUID(int=5), "record": to_json(said)})
        with world.afterwards_as_before() as connection:
            for_age = events.c.position < 270
            connection.execute(sa.delete(events).where(events.c.tenant_id == world.log, for_age))
            connection.execute(sa.update(logs).where(logs.c.tenant_id == world.log).values(first=270))
            connection.commit()
            for _ in range(2):  # while it waits, and when it has a position
                report = world.verify(personal=False)
                assert (report.is_intact, report.removed_by_age) == (True, 270), report.findings
                assert [caveat for caveat in report.caveats() if "270 events were removed by age" in caveat]
                services.sequencer.integrate_all()
            connection.execute(sa.delete(events).where(events.c.tenant_id == world.log, events.c.position == 280))
            connection.commit()
            [found] = world.verify(personal=False).findings
            assert (found.kind, found.first) == ("removed", 280)
