"""The operator's pages: who sees them, what their acts do, who is on record for it, and what is never shown."""

import re
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from payymo.audit.entries import Filters
from payymo.certificates.making import parse_names
from payymo.errors import InsufficientScope
from payymo.keys.model import find_one
from payymo.logs import Trace
from payymo.roles.service import authority_of
from payymo.sessions.actor import Administrator
from payymo.sessions.model import Device
from payymo.web.console.opening import list_pages
from tests.support.house import PASSWORD, House
from tests.support.surfer import Surfer, signed_in, text_of

PATHS = sorted(page.path for page in list_pages() if page.method == "GET" and re.fullmatch("/operator[^<]*", page.path))


@pytest.fixture
def root(house: House) -> Surfer:
    """The platform's administrator."""
    house.user("root", roles=("platform-administrator",))
    return signed_in(house, "root")


def on_record(house: House, type_: str) -> list[tuple[str, str]]:
    """Who has done what is on record of the platform, and with which outcome."""
    house.services.sequencer.integrate_all()
    filters = Filters(type=type_)
    page = house.services.audit_reader.page(None, filters, cursor=None, count=9, newest_first=False)
    return [(entry.record.actor, entry.record.outcome) for entry in page.entries]


def doer(house: House) -> str:
    """How the log names the platform's administrator."""
    [(user, _)] = house.services.users.list_users(house.default.id, after="", count=1)
    return f"user:{user.id}"


def test_only_who_runs_the_platform_sees_its_pages(sqlite_house: House) -> None:
    """Each of them, and with no more than a permission to read it offers no act."""
    house = sqlite_house
    house.user("boss", roles=("tenant-administrator",))
    house.user("root", roles=("platform-administrator",))
    boss, root = signed_in(house, "boss"), signed_in(house, "root")
    assert {boss.open("GET", path).status_code for path in PATHS} == {403}
    assert {path: root.open("GET", path).status_code for path in PATHS} == dict.fromkeys(PATHS, 200)
    assert 'href="/operator"' in text_of(root.open("GET", "/account"))
    assert 'href="/operator"' not in text_of(boss.open("GET", "/account"))
    assert boss.open("GET", "/admin").headers["Location"] == "/admin/users"


def test_a_tenant_is_created_suspended_and_resumed(house: House, root: Surfer) -> None:
    """By whom is on record; its users are out, and in again."""
    refused = root.force("/operator/tenants", slug="Not Good", name="Acme", host="")
    assert refused.status_code == 422
    assert 'value="Not Good"' in text_of(refused)
    assert root.force("/operator/tenants", slug="acme", name="Acme", host="").status_code == 303
    acme = house.services.tenants.get_by_slug("acme")
    house.user("carol", tenant=acme)
    carol = signed_in(house, "carol", tenant="acme")
    assert root.force(f"/operator/tenants/{acme.id}/suspend").status_code == 303
    assert carol.open("GET", "/account").status_code == 303  # to sign in
    assert root.force(f"/operator/tenants/{acme.id}/resume").status_code == 303
    signed_in(house, "carol", tenant="acme")
    for type_ in ("tenant.created", "tenant.suspended", "tenant.active"):
        assert on_record(house, type_)[-1] == (doer(house), "success")


def test_tenants_are_listed_page_by_page(sqlite_house: House) -> None:
    """Each of them once."""
    house = sqlite_house
    house.user("root", roles=("platform-administrator",))
    for number in range(60):
        house.tenant(f"t{number:02}")
    root = signed_in(house, "root")
    first = text_of(root.open("GET", "/operator/tenants"))
    [onward] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = text_of(root.open("GET", onward))
    assert 'rel="next"' not in second
    assert re.findall(r"<code>(t\d\d)</code>", first + second) == [f"t{number:02}" for number in range(60)]


DANGEROUS: dict[str, dict[str, str | list[str]]] = {
    "/operator/tenants/{tenant}/suspend": {},
    "/operator/keys/access/rotate": {"at_once": "true"},
    "/operator/keys/{kid}/revoke": {"compromised": "yes"},
    "/operator/guards/new": {"name": "late", "scopes": ["feed"]},
    "/operator/guards/{credential}/revoke": {},
}


def test_dangerous_acts_want_the_password_of_the_last_minutes(sqlite_house: House) -> None:
    """At five minutes and a second nothing is done; the page before it asks, too."""
    house = sqlite_house
    house.user("root", roles=("platform-administrator",))
    acme = house.tenant("acme")
    house.services.guards.create("guard", scopes=["feed"], trace=Trace())
    root = signed_in(house, "root")
    house.clock.advance(301)
    active = find_one(house.services.ring.list_keys(), "access", "active")
    assert active is not None
    for path, fields in DANGEROUS.items():
        real = path.format(tenant=acme.id, kid=active.kid, credential="guard")
        assert root.force(real, **fields).status_code == 401
        assert root.open("GET", real).headers["Location"].startswith("/confirm?next=")
    assert house.services.tenants.get(acme.id).is_active
    assert find_one(house.services.ring.list_keys(), "access", "active") == active
    assert [one.revoked_at for one in house.services.guards.list_credentials()] == [None]


def test_a_key_is_rotated_by_somebody(house: House, root: Surfer) -> None:
    """Verifiers have to know it first, unless it is said otherwise; then it signs, and who did it is on record."""
    assert root.force("/operator/keys/access/rotate").status_code == 303  # the next key is older than every key set
    early = root.force("/operator/keys/access/rotate")
    assert early.status_code == 409
    assert "may not know the next key" in text_of(early)
    following = find_one(house.services.ring.list_keys(), "access", "next")
    assert root.force("/operator/keys/access/rotate", at_once="true").status_code == 303
    active = find_one(house.services.ring.list_keys(), "access", "active")
    assert active is not None
    assert following is not None
    assert active.kid == following.kid
    assert on_record(house, "key.rotated")[-1] == (doer(house), "success")
    assert root.force("/operator/keys/nonsense/rotate").status_code == 404


def test_a_revoked_key_ends_every_session_or_none(house: House, root: Surfer) -> None:
    """Not by mistake: somebody has to say that the key is compromised. One's own session ends with the others."""
    path = "/operator/keys/{}/revoke"
    first = find_one(house.services.ring.list_keys(), "access", "active")
    assert first is not None
    assert root.force(path.format(first.kid)).status_code == 422
    kept = root.force(path.format(first.kid), compromised="yes", keep_sessions="true")
    assert kept.status_code == 303
    assert root.open("GET", "/operator/keys").status_code == 200
    second = find_one(house.services.ring.list_keys(), "access", "active")
    assert second is not None
    assert second.kid != first.kid
    assert root.force(path.format(second.kid), compromised="yes").status_code == 303
    assert root.open("GET", "/operator/keys").status_code == 303  # to sign in
    assert on_record(house, "key.revoked") == [(doer(house), "success")] * 2
    root.sign_in("root")
    assert root.open("GET", path.format(second.kid)).status_code == 200  # to go on with a run that broke off
    assert root.open("GET", path.format("unknown")).status_code == 404


def test_a_credential_is_shown_once(house: House, root: Surfer) -> None:
    """It works, it is nowhere else, and it does not work when it is revoked."""
    assert root.force("/operator/guards/new", name="guard-1", days="30").status_code == 422  # good for nothing
    made = root.force("/operator/guards/new", name="guard-1", scopes=["feed"], days="30")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    [text] = re.findall(r"payymo_[\w-]+", text_of(made))
    assert text not in text_of(root.open("GET", "/operator/guards"))
    assert text not in house.log_lines.getvalue()
    assert house.services.guards.authenticate(text, scope="feed").name == "guard-1"
    assert root.force("/operator/guards/guard-1/revoke").status_code == 303
    house.clock.advance(2)
    assert house.services.guards.list_credentials()[0].state(house.clock()) == "revoked"
    assert root.open("GET", "/operator/guards/guard-1/revoke").status_code == 404
    assert on_record(house, "service.") == [(doer(house), "success")] * 2


def rotate(house: House, **given: Any) -> object:
    return house.services.ring.rotate("access", at_once=True, **given)


def revoke_key(house: House, **given: Any) -> object:
    return house.services.ring.revoke(house.services.ring.active_kid("access"), **given)


def create_credential(house: House, **given: Any) -> object:
    return house.services.guards.create("other", scopes=["feed"], **given)


def revoke_credential(house: House, **given: Any) -> None:
    house.services.guards.revoke("guard", **given)


@pytest.mark.parametrize("act", [rotate, revoke_key, create_credential, revoke_credential])
def test_who_has_lost_the_role_meanwhile_changes_nothing(house: House, act: Callable[..., object]) -> None:
    """The door let them in; the transaction asks again, and nothing of it stays."""
    services, here = house.services, Device("192.0.2.1", "a browser")
    user = house.user("root", roles=("platform-administrator",))
    session = services.browsers.sign_in(
        house.default.id, email="root@example.com", password=PASSWORD, device=here, trace=Trace()
    )
    actor = Administrator(
        services.users,
        services.roles,
        services.clock,
        tenant_id=house.default.id,
        user_id=user.id,
        session_id=session.session_id,
        permissions=("*:*",),
        needs="platform:write",
    )
    services.guards.create("guard", scopes=["feed"], trace=Trace())
    services.administration.change_user(house.default.id, user.id, roles=["member"], by=None, trace=Trace())
    before = services.ring.list_keys(), services.guards.list_credentials()
    with pytest.raises(InsufficientScope):
        act(house, permit=partial(authority_of, actor), trace=Trace(actor_id=user.id))
    assert (services.ring.list_keys(), services.guards.list_credentials()) == before


def test_secrets_and_certificates_are_named_and_not_shown(sqlite_house: House) -> None:
    """Names, versions and ends: no value, and no private key."""
    house = sqlite_house
    house.user("root", roles=("platform-administrator",))
    house.services.secrets.put("smtp-password", b"hunter2-hunter2", trace=Trace())
    names = parse_names(["login.example.com"], [], [])
    house.services.development_authority.issue("web", names, usage="server", days=5, trace=Trace())
    root = signed_in(house, "root")
    secrets, certificates = (
        text_of(root.open("GET", "/operator/secrets")),
        text_of(root.open("GET", "/operator/certificates")),
    )
    assert "smtp-password" in secrets
    assert "hunter2" not in secrets
    assert "ends within 7 days, no successor" in certificates
    assert "PRIVATE" not in certificates
    assert "The certificate web ends within 7 days" in text_of(root.open("GET", "/operator"))


def test_the_report_of_limits_says_what_was_counted(sqlite_house: House) -> None:
    """As the command says it; a time that is none is refused on the page."""
    house = sqlite_house
    house.user("root", roles=("platform-administrator",))
    for used in (1, 2, None):
        house.services.limit_usage.record("login", "address", amount=20, window_seconds=60, used=used)
    house.services.limit_usage.flush()
    root = signed_in(house, "root")
    shown = re.sub(r"<[^>]+>", " ", text_of(root.open("GET", "/operator/limits?days=1")))
    assert re.search(r"login\s+address\s+20 a minute\s+1\s+2\s+1\s", shown)
    assert root.open("GET", "/operator/limits?days=0").status_code == 422
    overview = re.sub(r"<[^>]+>", " ", text_of(root.open("GET", "/operator")))
    assert re.search(r"15 Jan 2027, 08:00:00 UTC\s+2\s+1\s", overview)


def test_what_is_unknown_is_not_found(house: House, root: Surfer) -> None:
    """As a page, also where its form would have come back, and whatever stands in the address."""
    unknown = [f"/operator/tenants/{uuid.UUID(int=7)}/{act}" for act in ("suspend", "resume")]
    for name in ("x", "%00", "%27", "%f0%9f%98%80"):
        unknown += [f"/operator/keys/{name}/revoke", f"/operator/keys/{name}/rotate", f"/operator/guards/{name}/revoke"]
    for path in unknown:
        fields = {"compromised": "yes"} if re.fullmatch("/operator/keys/.*/revoke", path) else {}
        answer = root.force(path, **fields)
        assert (path, answer.status_code, answer.mimetype) == (path, 404, "text/html")
    assert house.services.ring.list_keys()
