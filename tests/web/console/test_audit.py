"""The explorers of the logs: by permission, by tenant, page by page; and the proof that is checked in the page."""

import re
import uuid

import pytest
import sqlalchemy as sa

from payymo.audit.proofs import InclusionProof, check_inclusion
from payymo.db.schema import audit_events, audit_tiles
from payymo.logs import Event, Trace
from payymo.web.console.explorer import EVENTS_A_PAGE
from payymo.web.console.opening import list_pages
from tests.support.house import House
from tests.support.surfer import Surfer, signed_in, text_of

LOG = "/admin/audit"
OF_AN_EVENT = [page.path for page in list_pages() if page.path.startswith(f"{LOG}/<uuid:event_id>")]


@pytest.fixture
def boss(house: House) -> Surfer:
    """An administrator of the default tenant, with some things on record."""
    house.user("boss", roles=("tenant-administrator",))
    house.user("alice")
    house.client().log_in(password="not the password")
    visitor = signed_in(house, "boss")
    house.event_on_record(house.default.id)
    return visitor


def listed(visitor: Surfer, query: str = "", path: str = LOG) -> list[str]:
    """The types that a page lists, in its order."""
    answer = visitor.open("GET", path + query)
    assert answer.status_code == 200, text_of(answer)
    return re.findall(r'<th scope="row"><a href="[^"]+">([a-z.-]+)</a>', text_of(answer))


def test_the_log_is_read_with_a_permission_and_filtered(house: House, boss: Surfer) -> None:
    """One's own tenant's, newest first; a member sees none, and an administrator of a tenant not the platform's."""
    assert listed(boss) == ["session.login", "session.login", "user.created", "user.created"]
    assert listed(boss, "?type=user.") == ["user.created", "user.created"]
    assert listed(boss, "?outcome=refused") == ["session.login"]
    assert listed(boss, f"?user={house.services.entropy.uuid()}") == []
    assert listed(boss, "?before=2027-01-15T08:00:00") == []  # the second at which the clock of tests stands
    assert len(listed(boss, "?since=2027-01-15T08:00:00")) == 4
    assert signed_in(house, "alice").open("GET", LOG).status_code == 403
    assert boss.open("GET", "/operator/audit").status_code == 403
    house.user("root", roles=("platform-administrator",))
    assert "tenant.created" in listed(signed_in(house, "root"), path="/operator/audit")


def test_a_long_log_is_read_page_by_page(sqlite_house: House) -> None:
    """Each event once, with the same filter all the way; the picture counts what the page shows."""
    house = sqlite_house
    house.user("boss", roles=("tenant-administrator",))
    for number in range(EVENTS_A_PAGE + 5):
        house.clock.advance(60)
        event = Event("role.created", trace=Trace(), tenant_id=house.default.id, role=f"r{number}")
        house.services.audit.record_apart(event)
    house.event_on_record(house.default.id)
    boss = signed_in(house, "boss")
    first = boss.open("GET", f"{LOG}?type=role.")
    [onward] = re.findall(r'rel="next" href="([^"]+)"', text_of(first))
    assert len(listed(boss, "?type=role.")) == EVENTS_A_PAGE
    assert listed(boss, path=onward) == ["role.created"] * 5
    counted = re.findall(r'<td class="number">(\d+)</td><td class="number">(\d+)</td>', text_of(first))
    assert sum(int(good) for good, _ in counted) == EVENTS_A_PAGE
    assert boss.open("GET", onward.replace("type=role.", "type=user.")).status_code == 422


def test_an_event_is_shown_whole_with_a_proof_that_others_can_check(house: House, boss: Surfer) -> None:
    """In words and as its record; the file is what the page has checked, and shows nothing personal."""
    [event_id, *_] = re.findall(rf'href="{LOG}/([0-9a-f-]+)"', text_of(boss.open("GET", f"{LOG}?type=user.")))
    shown = text_of(boss.open("GET", f"{LOG}/{event_id}"))
    assert "The proof holds" in shown
    assert "alice@example.com" in shown
    assert f'"id": "{event_id}"' in shown
    file = boss.open("GET", f"{LOG}/{event_id}/proof")
    assert file.headers["Content-Disposition"] == f'attachment; filename="{event_id}.tlog-proof"'
    known = house.services.checkpoints.verifier_keys(house.default.id)
    assert event_id.encode() in check_inclusion(InclusionProof.parse(file.get_data()), known).record
    assert b"alice@" not in file.get_data()


def test_a_proof_that_does_not_hold_is_said_to(house: House, boss: Surfer) -> None:
    """A record that was changed in the database, a tree that lacks hashes: shown, and not called proved."""
    event_id = house.event_on_record(house.default.id)
    owner = house.database.owner()
    with owner.begin() as connection:
        of_event = audit_events.c.id == event_id
        record = bytes(connection.execute(sa.select(audit_events.c.record).where(of_event)).scalar_one())
        changed = record.replace(b'"outcome":"success"', b'"outcome":"refused"')
        connection.execute(sa.update(audit_events).where(of_event).values(record=changed))
    shown = text_of(boss.open("GET", f"{LOG}/{event_id}"))
    assert "The proof does not hold" in shown
    assert "The proof holds" not in shown
    with owner.begin() as connection:
        connection.execute(sa.delete(audit_tiles))
    owner.dispose()
    assert "The proof does not hold" in text_of(boss.open("GET", f"{LOG}/{event_id}"))
    assert boss.open("GET", f"{LOG}/{event_id}/proof").status_code == 404


def test_a_record_of_lists_without_end_is_shown_as_it_is(house: House, boss: Surfer) -> None:
    """Somebody has written it there. The page says that it is damaged, and so do the others that show it."""
    event_id = house.event_on_record(house.default.id)
    owner, record = house.database.owner(), b"[" * 50_000 + b"]" * 50_000
    with owner.begin() as connection:
        connection.execute(sa.update(audit_events).where(audit_events.c.id == event_id).values(record=record))
    owner.dispose()
    for path in (LOG, f"{LOG}/{event_id}"):
        answer = boss.open("GET", path)
        assert (answer.status_code, "unreadable" in text_of(answer)) == (200, True)


def test_an_event_without_a_checkpoint_waits_for_its_proof(house: House, boss: Surfer) -> None:
    """It is shown, nothing is claimed, and there is no file yet."""
    house.clock.advance(5)
    event = Event("role.created", trace=Trace(), tenant_id=house.default.id, role="clerk")
    house.services.audit.record_apart(event)
    house.services.sequencer.integrate_all()
    [event_id, *_] = re.findall(rf'href="{LOG}/([0-9a-f-]+)"', text_of(boss.open("GET", LOG)))
    assert "No signed checkpoint is as new" in text_of(boss.open("GET", f"{LOG}/{event_id}"))
    assert boss.open("GET", f"{LOG}/{event_id}/proof").status_code == 404


def test_an_event_of_another_log_is_none(house: House, boss: Surfer) -> None:
    """Neither another tenant's nor the platform's, on no page: the same answer as for what there never was."""
    other = house.tenant("other")
    house.user("carol", tenant=other)
    unknown = uuid.UUID(int=7)
    answers = [
        boss.open("GET", path.replace("<uuid:event_id>", str(event_id)))
        for event_id in (house.event_on_record(other.id), house.event_on_record(None), unknown)
        for path in OF_AN_EVENT
    ]
    assert [answer.status_code for answer in answers] == [404] * 6
    assert not any("carol" in text_of(answer) for answer in answers)


TAKEN = (
    "since=0001-01-01T00:00&before=9999-12-31T23:59:59.999999",
    "actor=%F0%9F%98%80",
    "type=nobody.knows-it",
    "user=%7B00000000-0000-4000-8000-000000000000%7D",
)
REFUSED = (
    *("since=0001-01-01T00:00:00%2B14:00", "since=1e999", "user=%7B%7D", "actor=%00", "type=session", "outcome=fine"),
    *("cursor=AAAA", "limit=5", "type=user.&type=role."),
)


def test_filters_are_taken_or_refused(boss: Surfer) -> None:
    """CVE-2026-33503, -33504, -33505: whatever is written there, nothing fails; a place that was made up is none."""
    for query in (*TAKEN, *REFUSED):
        answer = boss.open("GET", f"{LOG}?{query}")
        assert (query, answer.mimetype) == (query, "text/html")
        assert (query, answer.status_code in {400, 422}) == (query, query in REFUSED)
        assert (query, answer.status_code == 200) == (query, query in TAKEN)
