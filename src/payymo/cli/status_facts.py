"""What `payymo status` shows: read, and never written; as much of it as can be read."""

import io
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from payymo import __version__
from payymo.cli.certificate_facts import row as certificate_row
from payymo.cli.common import database
from payymo.compose import compose
from payymo.config import Settings
from payymo.db.census import take_census
from payymo.db.lease import DUTIES, find_lease
from payymo.db.revision import current_revision
from payymo.db.schema import REVISION
from payymo.db.work import Engine, Work
from payymo.errors import Misconfigured, Unavailable
from payymo.guards.model import standing_of
from payymo.health.checks import schema_checks
from payymo.health.model import Health
from payymo.health.service import ask
from payymo.keys.model import PURPOSES, due_at, find_one
from payymo.logs import SecurityLog
from payymo.production import warnings_about
from payymo.secrets.envelope import is_sealed
from payymo.services import Services

OVERDUE_SECONDS: Final = 3600
"""As the alert rule has it."""
CERTIFICATE: Final = ("name", "version", "usage", "state", "not_after", "days_left", "warning")
Row = Mapping[str, Any]


@dataclass(slots=True)
class Page:
    """What was found, section by section. `wrong`: what, why, and the remedy; nothing there means that all is well."""

    sections: dict[str, Row | Sequence[Row]] = field(default_factory=dict)
    wrong: list[Row] = field(default_factory=list)

    def blame(self, what: str, reason: str, remedy: str | None = None) -> None:
        """Something is wrong."""
        self.wrong.append({"what": what, "reason": reason, "remedy": remedy})


def look(settings: Settings) -> Page:
    """Everything that can be read. A database that is away, or a service that could not start, is a finding."""
    page = Page()
    page.sections["service"] = {
        "version": __version__,
        "python": platform.python_version(),
        "environment": settings.env,
        "issuer": settings.issuer,
        "nodes": settings.server.nodes,
        "workers": settings.server.workers,
        "warnings": list(warnings_about(settings)),
    }
    if (missing := _missing_file(settings)) is not None:
        page.sections["database"] = {"kind": "sqlite", "where": str(missing), "revision": None, "wanted": REVISION}
        page.blame("database", f"there is no file {missing}", "payymo serve makes it, PAYYMO_DATA says where")
        return page
    with database(settings) as engine:
        health = ask(schema_checks(engine))
        _tell_database(page, engine, health)
        if health.is_ready:
            _look_inside(page, settings, engine)
        else:
            _tell_health(page, health)
    return page


def _missing_file(settings: Settings) -> Path | None:
    """SQLite would make it, and whoever looks makes nothing."""
    kind, _, path = settings.database_url.partition(":///")
    return Path(path) if kind == "sqlite" and not Path(path).exists() else None


def _tell_database(page: Page, engine: Engine, health: Health) -> None:
    answers = health.findings["database"].standing == "ok"
    page.sections["database"] = {
        "kind": engine.dialect.name,
        "where": engine.url.database if engine.dialect.name == "sqlite" else engine.url.render_as_string(),
        "revision": current_revision(engine) if answers else None,
        "wanted": REVISION,
    }


def _tell_health(page: Page, health: Health) -> None:
    page.sections["health"] = [
        {"check": name, "state": found.standing, "reason": found.reason} for name, found in health.findings.items()
    ]
    for name, found in health.findings.items():
        if found.standing != "ok":
            page.blame(name, found.reason, found.remedy)


def _look_inside(page: Page, settings: Settings, engine: Engine) -> None:
    try:
        if not is_sealed(Work(engine)):
            page.blame("service", "it has never run on this database", "payymo serve")
            return
        services = compose(settings, log=SecurityLog(stream=io.StringIO()), signs=False, makes=False)
    except Misconfigured as error:
        for reason in error.reasons:
            page.blame("configuration", reason)
        return
    except Unavailable as error:
        page.blame("service", error.private or error.detail)
        return
    with closing(services):
        _tell_health(page, services.health.health())
        for name, tell in SECTIONS.items():
            try:
                page.sections[name] = tell(services, page)
            except Unavailable as error:
                page.sections[name] = {"unknown": error.private or error.detail}


def _duties(services: Services, page: Page) -> Row:
    del page
    held = find_lease(services.work, DUTIES)
    is_held = held is not None and held.expires_at > services.clock()
    return {
        "leader": held.holder if held is not None and is_held else None,
        "last_done_at": None if held is None else held.done_at,
    }


def _keys(services: Services, page: Page) -> Iterator[Row]:
    keys, rotates = services.ring.list_keys(), services.settings.keys.rotate_automatically
    for purpose in PURPOSES:
        active, following = (find_one(keys, purpose, state) for state in ("active", "next"))
        due = due_at(active, services.ring.calendar) if active is not None and rotates else None
        if due is not None and services.clock() > due + OVERDUE_SECONDS:
            page.blame("keys", f"the {purpose} key should have been changed", "the log says why; payymo key rotate")
        if following is None:
            page.blame("keys", f"there is no next {purpose} key", "payymo serve makes one within a minute")
        yield {
            "purpose": purpose,
            "active": active and active.kid,
            "algorithm": active and active.algorithm,
            "signs_since_at": active and active.activated_at,
            "rotates_at": due,
            "next": following and following.kid,
        }


def _certificates(services: Services, page: Page) -> Iterator[Row]:
    everything, now = services.certificates.list_all(), int(services.clock())
    for version in everything:
        shown = certificate_row(version, everything, now)
        if shown["warning"]:
            page.blame("certificate", f"{version.name}: {shown['warning']}", "payymo certificate import")
        if version.state in {"next", "active", "retiring"}:
            yield {name: shown[name] for name in CERTIFICATE}


def _mail(services: Services, page: Page) -> Row:
    del page
    return {"on": services.outbox.is_on, **asdict(services.outbox.backlog())}


def _sealing(services: Services, page: Page) -> Iterator[Row]:
    for known in services.master_rotation.list_known():
        if known.state == "leaving":
            page.blame("master key", "a change of it is not through", "payymo secret rotate-master")
        yield {
            "master_key": known.id,
            "state": known.state,
            "development": known.is_development,
            "data_keys": known.data_keys,
            "oldest_data_key_at": known.oldest_at,
        }


def _followers(services: Services, page: Page) -> Row:
    now, lags = services.clock(), services.guards.list_lags()
    standings = Counter(standing_of(follower, lag, now) for follower, lag in lags)
    if standings["silent"] > standings["current"] + standings["behind"]:
        page.blame("followers", "more are silent than ask", "payymo guard list: were they ended, or are they cut off?")
    return {
        "position": services.feed.last()[0],
        "current": standings["current"],
        "behind": standings["behind"],
        "silent": standings["silent"],
        "furthest_behind": max((lag for _, lag in lags), default=0),
    }


def _limits(services: Services, page: Page) -> Iterator[Row]:
    del page
    for key, tally in sorted(services.limit_usage.read(days=1).items(), key=lambda item: -item[1].refused):
        if tally.refused:
            limit = f"{key.amount} in {key.window_seconds} s"
            yield {"tier": key.tier, "counted_by": key.scope, "limit": limit, "refused_in_a_day": tally.refused}


def _counts(services: Services, page: Page) -> Row:
    del page
    return asdict(take_census(services.work, int(services.clock())))


def _listed(tell: Callable[[Services, Page], Iterator[Row]]) -> Callable[[Services, Page], Sequence[Row]]:
    return lambda services, page: list(tell(services, page))


SECTIONS: Final[Mapping[str, Callable[[Services, Page], Row | Sequence[Row]]]] = {
    "duties": _duties,
    "keys": _listed(_keys),
    "certificates": _listed(_certificates),
    "mail": _mail,
    "sealing": _listed(_sealing),
    "followers": _followers,
    "limits": _listed(_limits),
    "counts": _counts,
}
"""Each reads what it shows, and says what is wrong with it."""
