"""The console: what a page takes of the server and of the wire, and whether lists stay flat as a tenant grows."""

import gzip
import statistics
from functools import partial
from typing import Final

from flask import Flask
from werkzeug.test import Client

from bench.filling import put
from bench.measure import Effort, Figure, interleave, timed
from bench.scene import DATABASES, Scene, Stage
from payymo.app import create_app
from payymo.logs import Trace
from payymo.sessions.model import Device
from payymo.web.console.assets import load_assets
from tests.support.house import PASSWORD

TENANT_USERS: Final = 10_000
PAGES: Final = (
    *("/account", "/account/sessions", "/account/activity"),
    *("/admin/users", "/admin/roles", "/admin/security", "/admin/appearance", "/admin/audit"),
    *("/operator", "/operator/tenants", "/operator/keys", "/operator/guards", "/operator/limits"),
)
LIST: Final = "/admin/users"
BOSS: Final = "boss@example.com"
_NAMES: Final = (
    *("tenant_id", "id", "email", "email_key", "username", "username_key", "password_hash", "password_kind"),
    *("status", "created_at", "password_changed_at"),
)


def pages(stage: Stage, effort: Effort) -> list[Figure]:
    """Each page of a tenant with ten thousand users; and its list of users again, with a million."""
    figures: list[Figure] = []
    for kind in DATABASES:
        scene = stage.scene(kind, "pages")
        fill(scene, 0, min(TENANT_USERS, effort.many))
        browser = Browser(scene)
        acts = {path: timed(partial(browser.fetch, path), repeat=5) for path in PAGES}
        found = interleave(acts, rounds=effort.rounds)
        slowest = max(PAGES, key=lambda path: statistics.median(found[path]))
        each = ", ".join(f"{path} {statistics.median(found[path]) * 1000:.1f} ms" for path in PAGES)
        at_most = statistics.median(found[slowest]) * 1000
        figures.append(Figure(f"the slowest page, {kind}", at_most, "ms", at_most=30.0, parts=each))
        figures.append(_growth(scene, browser, kind, effort))
        figures += _wire(browser) if kind == DATABASES[0] else []
    return figures


def _growth(scene: Scene, browser: "Browser", kind: str, effort: Effort) -> Figure:
    """A page in the middle of the list, before and after the tenant has grown a hundredfold."""
    small, large = min(TENANT_USERS, effort.many), effort.many
    before = interleave({LIST: timed(lambda: browser.fetch(f"{LIST}?after=u0005000"), repeat=5)}, rounds=effort.rounds)
    fill(scene, small, large)
    after = interleave({LIST: timed(lambda: browser.fetch(f"{LIST}?after=u0500000"), repeat=5)}, rounds=effort.rounds)
    grown = statistics.median(after[LIST]) / statistics.median(before[LIST])
    return Figure(f"a list of {large:,} users against one of {small:,}, {kind}", grown, at_most=1.5)


def _wire(browser: "Browser") -> list[Figure]:
    """Compressed, with the headers: everything that a first visit fetches, and what a later one does."""
    assets = load_assets().paths.values()
    first, later = 0, 0
    for path in PAGES:
        own, text = browser.weigh(path)
        later = max(later, own)
        first = max(first, own + sum(browser.weigh(asset)[0] for asset in assets if asset in text))
    return [
        Figure("a first visit over the wire", first / 1000, "", at_most=60.0, parts="in KB, without images"),
        Figure("a later one", later / 1000, "", at_most=15.0, parts="in KB"),
    ]


class Browser:
    """An administrator's."""

    def __init__(self, scene: Scene) -> None:
        services, tenant_id = scene.services, scene.tenant.id
        services.users.create(
            tenant_id,
            email=BOSS,
            username="boss",
            password=PASSWORD,
            roles=("platform-administrator",),
            by=None,
            trace=Trace(),
        )
        done = services.browsers.sign_in(
            tenant_id, email=BOSS, password=PASSWORD, device=Device("192.0.2.1", "bench"), trace=Trace()
        )
        app: Flask = create_app(services.settings, services=services)
        self._http: Client = app.test_client()
        self._http.set_cookie("payymo-session", done.cookie.text, domain="localhost")

    def fetch(self, path: str) -> None:
        """A page, uncompressed."""
        answer = self._http.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status}")

    def weigh(self, path: str) -> tuple[int, str]:
        """How many bytes an answer is, compressed; and what it says."""
        answer = self._http.get(path, headers={"Accept-Encoding": "gzip"})
        return len(answer.data) + len(str(answer.headers)), gzip.decompress(answer.data).decode()


def fill(scene: Scene, have: int, want: int) -> None:
    """Users past everything that would make them one by one."""
    tenant, new_id = scene.tenant.id, scene.services.entropy.uuid
    rows = (
        (tenant.hex, new_id().hex, *[f"u{n:07}@example.com"] * 2, *[f"u{n:07}"] * 2, "-", "-", "active", 0, 0)
        for n in range(have, want)
    )
    put(scene, "users", _NAMES, rows)
