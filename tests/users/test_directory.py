"""Users are found by how their names begin, page by page, and no page reads more rows in a large tenant."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from payymo.logs import Trace
from payymo.users.directory_rows import _BY_EMAIL, _BY_USERNAME
from payymo.users.model import canonical_email
from tests.support.house import PASSWORD, Database, House

NAMES = {
    "Al-b": "zoe@example.com",
    "al_c": "al_c@example.com",
    "alb": "a.l@example.com",
    "ALC2": "al@example.com",
    "ben": "albert@example.com",
    "zed": "al-@example.com",
    "zoe": "al~x@example.com",
}
"""Signs that other collations skip, capitals, and people of whom one name, both, or none begins like the other's."""


def add(house: House, slug: str) -> None:
    tenant = house.tenant(slug)
    for username, email in NAMES.items():
        house.services.users.create(
            tenant.id, email=email, username=username, password=PASSWORD, by=None, trace=Trace()
        )


def expected(prefix: str) -> list[str]:
    """What has to be found, and in which order: by the first of the names that begins like this."""
    found = []
    for username, email in NAMES.items():
        keys = [username.lower(), canonical_email(email) or ""] if prefix else [username.lower()]
        if matching := [key for key in keys if key.startswith(prefix.lower())]:
            found.append((min(matching), username))
    return [username for _, username in sorted(found)]


def walk(house: House, slug: str, prefix: str, count: int) -> Iterator[str]:
    """Every user name on every page."""
    after: str | None = ""
    while after is not None:
        page = house.services.directory.page(
            house.services.tenants.get_by_slug(slug).id, prefix, after=after, count=count
        )
        assert len(page.users) <= count
        yield from (listed.user.username for listed in page.users)
        after = page.next


def test_everybody_is_found_once_and_in_order_whatever_the_size_of_a_page(house: House) -> None:
    """By user name and by address, without regard to capitals, and in one's own tenant alone."""
    add(house, "a")
    add(house, "b")
    for prefix in ("", "a", "AL", "al-", "al_", "al~", "alc2", "al@example.com", "z", "nobody", "al%", "%"):
        for count in (1, 2, 3, 50):
            assert list(walk(house, "a", prefix, count)) == expected(prefix), (prefix, count)


@pytest.mark.parametrize("text", ["ä", "a\x00", "\u212a"])
def test_what_is_in_no_name_finds_nobody(house: House, text: str) -> None:
    """No error either: PostgreSQL takes no NUL, and the Kelvin sign is no k."""
    house.user("kim")
    assert house.services.directory.page(house.default.id, text, after="", count=5).users == ()
    assert house.services.directory.page(house.default.id, "k", after=text, count=5).users == ()


def test_both_bounds_are_looked_up_in_an_index(database: Database) -> None:
    """Flat to a million users: neither a scan nor a filter. On PostgreSQL also where the database sorts otherwise."""
    engine = database.owner()
    values = {"own_tenant": "00000000-0000-0000-0000-000000000000", "least": "a", "beyond": "b", "count": 3}
    for key, statement in (("username_key", _BY_USERNAME), ("email_key", _BY_EMAIL)):
        compiled = statement.compile(engine)
        text, given = str(compiled), compiled.params | values
        with engine.connect() as connection:
            if database.is_postgres:
                connection.exec_driver_sql("SET enable_seqscan = off")
                plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", given)]
                assert any("Index Cond" in line and line.count(key) == 2 for line in plan), plan
                assert not any("Filter" in line or "Sort" in line for line in plan), plan
                asked = sa.text(
                    "SELECT collation_name FROM information_schema.columns "
                    "WHERE table_schema = 'public' AND table_name = 'users' AND column_name = :key"
                )
                assert connection.execute(asked, {"key": key}).scalar() == "C"
            else:
                ordered = tuple(given[name] for name in compiled.positiontup or ())
                plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ordered)]
                assert len(plan) == 1
                assert plan[0].endswith(f"(tenant_id=? AND {key}>? AND {key}<?)"), plan
    engine.dispose()
