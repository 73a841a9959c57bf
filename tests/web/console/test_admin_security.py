"""`/admin/security`: the policy for passwords, and what the settings say."""

from payymo.logs import Trace
from tests.support.house import Database, House
from tests.support.surfer import Surfer

SECURITY = "/admin/security"
POLICY = f"{SECURITY}/password-policy"
STRICT = {
    "min_length": "15",
    "max_length": "128",
    "min_score": "3",
    "complexity_classes": "0",
    "words": "rocket\n\n moon base \nrocket",
}


def surfer_of(house: House, *roles: str) -> Surfer:
    """Somebody with these roles, signed in."""
    house.user("boss", roles=roles)
    surfer = Surfer(house)
    surfer.sign_in("boss")
    surfer.get(SECURITY)
    return surfer


def test_a_policy_is_set_and_given_back(house: House) -> None:
    """It holds from then on; outside of the bounds the field says so; the service's own holds again afterwards."""
    boss, policies = surfer_of(house, "tenant-administrator"), house.services.password_policies
    assert boss.send(POLICY, **(STRICT | {"min_length": "9"})).status_code == 422
    assert 'id="min_length-problem"' in boss.answer.text
    assert 'value="9"' in boss.answer.text
    assert boss.submit(POLICY, **STRICT).status_code == 200
    assert "It is saved." in boss.text
    found, is_own = policies.get(house.default.id)
    assert is_own
    assert (found.min_length, found.words) == (15, ("rocket", "moon base"))
    boss.submit(f"{POLICY}/default")
    assert policies.get(house.default.id) == (policies.default, False)


def test_who_may_only_read_gets_no_form(sqlite_house: House) -> None:
    """And a form that is sent all the same changes nothing."""
    sqlite_house.services.roles.create(sqlite_house.default.id, "reader", ["policies:read"], by=None, trace=Trace())
    reader = surfer_of(sqlite_house, "reader")
    assert [form.action for form in reader.forms] == ["/sign-out", "/language"]
    assert "12 to 128 characters" in reader.text
    token = dict(reader.forms[0].fields)["csrf"]
    assert reader.post(POLICY, {"csrf": token, **STRICT}).status_code == 403
    assert not sqlite_house.services.password_policies.get(sqlite_house.default.id)[1]


def test_the_settings_in_effect_are_told(sqlite_database: Database) -> None:
    """Limits of the tenant's own instead of the usual ones; a lifted class; waits in words."""
    house = House(sqlite_database, limits={"verify": ""}, lockout={}, registration={"enabled": False})
    for tier in ("refresh", "verify"):  # what is lifted stays so
        house.services.limit_overrides.set(tier, "7/minute", tenant_id=house.default.id, trace=Trace())
    text = surfer_of(house, "tenant-administrator").text
    assert "Programs that renew a token 7 a minute" in text
    assert "Programs that ask whether a token is good any number" in text
    assert "Registering 5 an hour, 20 a day" in text
    assert "After 5 wrong passwords an account has to wait 30 seconds" in text
    assert "Closed: administrators make the accounts." in text
    assert "None is sent" in text
    house.close()
