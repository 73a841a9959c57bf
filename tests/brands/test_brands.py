"""What a tenant is called and looks like: what is acceptable, who changes it, and what goes on record."""

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payymo.audit.entries import Filters
from payymo.brands.model import NAME_MAX, Brand, brand_of
from payymo.brands.service import REMEMBER_SECONDS
from payymo.errors import Conflict, InsufficientScope, InvalidInput, InvalidToken, NotFound
from payymo.logs import Trace
from payymo.sessions.actor import Administrator
from payymo.tenants.model import Tenant
from tests.support.house import House
from tests.support.pictures import picture
from tests.support.two_tenants import build_sides

TRACE = Trace()
CLEAN = picture()


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x" * (NAME_MAX + 1),
        "Acme\nBcc: all@example.com",
        "Acme\rx",
        "Acme\x00",
        "Acme\x1b[31m",
        "Acme\x7f",
        "Acme\u202egnp.exe",
        "Acme\u2066x\u2069",
        "\u200fAcme",
        "Ac\u200bme",
        "Ac\u200dme",
        "Ac\u00adme",
        "Acme\ufeff",
        "Acme\u2028x",
        "Acme\u00a0x",
        "Acme\u3000",
        "\u3164",
        "\u2800\u2800",
        "\ufe0f",
        "a\u034fb",
        "Acme\ud800",
        "Acme\ue000",
        "\U000e0041cme",
    ],
    ids=ascii,
)
def test_names_that_play_tricks_are_refused(name: str) -> None:
    """Headers and lines of their own, direction, nothing to be seen, half a character, too much."""
    with pytest.raises(InvalidInput) as refused:
        brand_of(name, None)
    assert {problem.pointer for problem in refused.value.errors} == {"/name"}


@pytest.mark.parametrize(
    "name", ["Acme & Söhne <GmbH>", "株式会社アクメ", "أكمي", "Ακμή", "A", "x" * NAME_MAX, "'\";--"]
)
def test_names_of_people_are_taken(name: str) -> None:
    """In every script, with signs that others have to escape."""
    assert brand_of(f" {name} ", "#ABCDEF") == Brand(name, "#abcdef")


def test_a_name_is_stored_in_one_spelling() -> None:
    """NFC, and counted after that."""
    assert brand_of("Cafe\u0301", None).name == "Caf\u00e9"
    assert brand_of("e\u0301" * NAME_MAX, None).name == "\u00e9" * NAME_MAX
    with pytest.raises(InvalidInput):
        Brand("Cafe\u0301")


@given(st.text(max_size=80))
def test_whatever_is_taken_is_one_line_that_can_be_seen(name: str) -> None:
    """For every text there is."""
    try:
        found = brand_of(name, None).name
    except InvalidInput:
        return
    assert unicodedata.is_normalized("NFC", found)
    assert 1 <= len(found) <= NAME_MAX
    assert not {unicodedata.category(sign) for sign in found} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    "accent",
    ["", "#fff", "0b5d63", "#0b5d6", "#0b5d63 ", "#0b5d63;", "red", "#0b5d6g", "#\u0661\u0661\u0661111", "#0b5d63\n"],
)
def test_a_colour_is_six_digits(accent: str) -> None:
    """What gets into a stylesheet has one form, in which nothing else can be written."""
    with pytest.raises(InvalidInput) as refused:
        Brand("Acme", accent)
    assert [problem.pointer for problem in refused.value.errors] == ["/accent"]


@pytest.mark.parametrize("code", ["", "xx", "de-AT", "DE", "../de", "de\n"])
def test_a_language_is_one_that_there_is(code: str) -> None:
    """What is kept is looked up as it is; one that is gone since leaves the brand readable."""
    with pytest.raises(InvalidInput) as refused:
        brand_of("Acme", None, code)
    assert [problem.pointer for problem in refused.value.errors] == ["/language"]
    assert Brand("Acme", language=code).language == code


def administrator_of(house: House, tenant: Tenant, needs: str = "policies:write") -> Administrator:
    """The tenant's boss, who is signed in."""
    user = house.user("boss", tenant=tenant, roles=("tenant-administrator",))
    house.logged_in("boss", tenant=tenant)
    [session] = house.services.sessions.list_sessions(tenant.id, user.id)
    services = house.services
    permissions = services.users.get(tenant.id, user.id)[1].permissions
    return Administrator(
        services.users,
        services.roles,
        house.clock,
        tenant_id=tenant.id,
        user_id=user.id,
        session_id=session.id,
        permissions=permissions,
        needs=needs,
    )


def test_a_brand_is_set_changed_and_removed(house: House) -> None:
    """Name, colour and language leave the logo, the logo leaves them; each goes on record, with what was before."""
    acme, brands = house.tenant("acme"), house.services.brands
    assert brands.get(acme.id) is None
    with pytest.raises(Conflict, match="display name"):
        brands.set_logo(acme.id, CLEAN, by=None, trace=TRACE)
    digest = hashlib.sha256(CLEAN).hexdigest()
    first = brands.set(acme.id, "Acme", None, logo=picture(2, 2, (b"tEXt", b"x")), by=None, trace=TRACE)
    assert brands.get(acme.id) == first == Brand("Acme", None, digest)
    second = brands.set(acme.id, "Acme 2", "#0B5D63", language="de", by=None, trace=TRACE)
    assert second == Brand("Acme 2", "#0b5d63", digest, "de")
    assert brands.get_logo(acme.id, digest) == CLEAN
    other = brands.set_logo(acme.id, picture(3, 3), by=None, trace=TRACE)
    with pytest.raises(NotFound):
        brands.get_logo(acme.id, digest)
    assert brands.set_logo(acme.id, None, by=None, trace=TRACE) == Brand("Acme 2", "#0b5d63", language="de")
    with pytest.raises(NotFound):
        brands.get_logo(acme.id, str(other.logo))
    brands.remove(acme.id, by=None, trace=TRACE)
    assert brands.get(acme.id) is None
    house.services.sequencer.integrate_all()
    page = house.services.audit_reader.page(acme.id, Filters(), cursor=None, count=50, newest_first=False)
    records = [entry.record for entry in page.entries if entry.record.type == "tenant.brand-changed"]
    own = {"own": True, "name": "Acme 2", "accent": "#0b5d63", "language": "de"}
    assert [record.new for record in records] == [
        {"own": True, "name": "Acme", "accent": None, "logo": digest, "language": None},
        {**own, "logo": digest},
        {**own, "logo": other.logo},
        {**own, "logo": None},
        {"own": False},
    ]
    assert [record.old for record in records[1:]] == [record.new for record in records[:-1]]
    assert records[0].old == {"own": False}


def test_who_lost_the_right_meanwhile_changes_nothing(house: House) -> None:
    """It is asked for again in the transaction: a role that is gone, a session that has ended."""
    acme, brands = house.tenant("acme"), house.services.brands
    brands.set(acme.id, "Acme", None, logo=CLEAN, by=None, trace=TRACE)
    boss, before = administrator_of(house, acme), brands.get(acme.id)
    acts = (
        lambda: brands.set(acme.id, "Evil", None, by=boss, trace=TRACE),
        lambda: brands.set_logo(acme.id, None, by=boss, trace=TRACE),
        lambda: brands.remove(acme.id, by=boss, trace=TRACE),
    )
    house.services.administration.change_user(acme.id, boss.user_id, roles=["member"], by=None, trace=TRACE)
    for act in acts:
        with pytest.raises(InsufficientScope):
            act()
    house.services.sessions.log_out(acme.id, boss.user_id, boss._session_id, everywhere=True, trace=TRACE)
    for act in acts:
        with pytest.raises(InvalidToken):
            act()
    assert brands.get(acme.id) == before


def test_tenants_have_nothing_of_each_others_brands(house: House) -> None:
    """Invariant 10: neither by asking nor by the digest of a logo; and who removes their own removes their own."""
    a, b = build_sides(house)
    brands = house.services.brands
    one, other = brands.get(a.tenant.id), brands.get(b.tenant.id)
    assert one is not None
    assert other is not None
    assert one.logo != other.logo
    for tenant, digest in ((a.tenant, other.logo), (b.tenant, one.logo)):
        with pytest.raises(NotFound):
            brands.get_logo(tenant.id, str(digest))
    brands.remove(a.tenant.id, by=None, trace=TRACE)
    assert brands.get(b.tenant.id) == other


def test_pages_remember_a_brand_for_two_seconds(sqlite_house: House) -> None:
    """Another process's change is seen then, one's own at once."""
    acme, brands = sqlite_house.tenant("acme"), sqlite_house.services.brands
    elsewhere = House(sqlite_house.database)
    assert brands.look_up(acme.id) is None
    elsewhere.services.brands.set(acme.id, "Acme", None, by=None, trace=TRACE)
    assert brands.look_up(acme.id) is None
    sqlite_house.clock.advance(REMEMBER_SECONDS)
    assert brands.look_up(acme.id) == Brand("Acme")
    brands.set(acme.id, "Acme 2", None, by=None, trace=TRACE)
    assert brands.look_up(acme.id) == Brand("Acme 2")
    elsewhere.close()
