"""The server as it is run, with TLS and two processes: cookies as they are meant, and a restart that nobody notices."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from payymo.clock import system_clock
from payymo_guard.fake_authority import SERVER, FakeAuthority
from tests.browser.conftest import Person
from tests.support.house import Database, House
from tests.support.processes import Server, servers


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[Server]:
    """Two workers behind a certificate for localhost."""
    house = House(database)
    house.user("alice")
    house.close()
    authority = FakeAuthority(now=system_clock())
    issued = authority.issue("localhost", dns_names=["localhost"], usages=[SERVER])
    paths = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key")}
    for name, content in (("authority", authority.pem), ("certificate", issued.pem), ("key", issued.key_pem)):
        paths[name].write_bytes(content)
        paths[name].chmod(0o600)
    more = {
        "PAYYMO_ISSUER": "https://localhost",
        "PAYYMO_SERVER__TLS_CERTIFICATE": str(paths["certificate"]),
        "PAYYMO_SERVER__TLS_KEY": str(paths["key"]),
        "PAYYMO_SERVER__WORKERS": "2",
    }
    with servers(database, 1, authority=paths["authority"], **more) as [started]:
        yield started


@pytest.mark.timeout(240)
def test_one_stays_signed_in_over_https_and_over_a_restart(server: Server, browser: Browser) -> None:
    """`__Host-`, Secure, HttpOnly; whichever process answers; and the server may be killed meanwhile."""
    complaints: list[str] = []
    with browser.new_context(ignore_https_errors=True) as context:  # its authority is this test's
        who = Person(context, server.base, complaints)
        page = who.sign_in()
        [cookie] = [found for found in context.cookies() if "session" in found["name"]]
        assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-payymo-session", True, True)
        assert (cookie["sameSite"], cookie["path"], cookie["expires"]) == ("Lax", "/", -1)
        assert page.evaluate("document.cookie") == ""
        for path in ("/account/sessions", "/account/activity", "/account") * 3:
            who.open(path)
            expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        page.goto("about:blank")  # what is still fetched when the server is killed is a complaint
        server.kill()
        server.start()
        who.open("/account")
        who.sees("alice@example.com")
        page.get_by_role("button", name="Sign out").click()
        who.sees("You are signed out.")
        assert [found["name"] for found in context.cookies() if "session" in found["name"]] == []
    assert complaints == []
