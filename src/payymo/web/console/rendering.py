"""Turns a sheet into an answer: Jinja, the headers of a page, and what every page shows.

Whatever a page is told is escaped. Only scripts and stylesheets that bear the nonce of this one answer are used (CSP
level 3): text that has got into a page in spite of all runs nothing.
"""

import gzip
import time
from collections.abc import Mapping
from functools import cache
from typing import Final

from flask import Request, Response, request
from jinja2 import Environment, PackageLoader, StrictUndefined

from payymo.clock import Clock
from payymo.entropy import Entropy
from payymo.phrases import Phrase
from payymo.web.console.assets import Assets, takes_gzip
from payymo.web.console.branding import Branding
from payymo.web.console.forms import KEPT_FIELD, TOKEN_FIELD
from payymo.web.console.labels import label, typed_value
from payymo.web.console.pages import NOTICES, Onward, Page, Sheet, path_of
from payymo.web.console.states import state
from payymo.web.console.visit import Visit
from payymo.web.csrf import make_token
from payymo.wording import (
    clock_time,
    duration,
    exact_moment,
    language_of,
    list_languages,
    moment,
    number,
    one,
    one_or_many,
    say,
    say_phrase,
    speaking,
)

POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; connect-src 'self'"
)
HTMX: Final = "HX-Request"
HEADERS: Final = {
    # `no-referrer` would take the Origin away from our own forms.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Accept-Encoding, Accept-Language, HX-Request",
}


class Renderer:
    """Makes pages. `facts`: what all of them are told."""

    def __init__(
        self, *, entropy: Entropy, clock: Clock, assets: Assets, branding: Branding, facts: Mapping[str, object]
    ) -> None:
        self._entropy = entropy
        self._clock = clock
        self._branding = branding
        self._facts = {"assets": assets.paths, "csrf_field": TOKEN_FIELD, "kept_field": KEPT_FIELD, **facts}

    def render(self, sheet: Sheet, visit: Visit) -> Response:
        """The answer."""
        nonce, place = self._entropy.token(18), visit.place
        look = self._branding.find(visit, status=sheet.status)
        if visit.secret is None:
            secret = visit.secret = self._entropy.bytes(32)
            visit.after.append(lambda response: visit.cookies.keep_visit(response, secret))
        request = visit.caller.request
        language = language_of(visit.wish.code)
        with speaking(language):
            text = (
                load_templates()
                .get_template(sheet.template)
                .render(
                    self._facts,
                    visit=visit,
                    tried=visit.tried,
                    slug=place[0] if place else None,
                    tenant=look.name if look else place[1] if place else None,
                    look=look,
                    csrf=make_token(visit.secret, self._entropy),
                    nonce=nonce,
                    notice=NOTICES.get("acting-over" if visit.was_acting else request.args.get("done", "")),
                    path=request.path,
                    here=here_of(request),
                    language=language,
                    languages=list_languages(),
                    request_id=visit.caller.request_id,
                    now=int(self._clock()),
                    **sheet.facts,
                )
            )
        response = Response(text, sheet.status, content_type="text/html; charset=utf-8")
        response.headers.update(HEADERS)
        response.headers["Content-Language"] = language.code
        response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
        if takes_gzip(visit.caller.request):
            response.set_data(gzip.compress(text.encode(), compresslevel=5, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
        return response


def here_of(request: Request) -> str | None:
    """Where somebody is, for coming back; None: a form has led here, and what it has shown would be lost."""
    if request.method != "GET":
        return None
    query = request.query_string.decode("ascii", "ignore")
    return f"{request.path}?{query}" if query else request.path


def lead_to(page: Page, /, **path: object) -> Response:
    """The answer that leads to a page, from an address with the same parts in its path."""
    return go_on(Onward(path_of(page, path)))


def go_on(answer: Onward) -> Response:
    """The answer that leads on. Fetched by htmx, another page takes the place of this one, and does not get into it."""
    target = answer.path
    if answer.notice is not None:
        target += f"{'&' if '?' in target else '?'}done={answer.notice}"
    if request.headers.get(HTMX) == "true":
        return Response(status=204, headers={"HX-Redirect": target})
    return Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})


@cache
def load_templates() -> Environment:
    """The templates, compiled once in a process, for every language."""
    found = Environment(
        loader=PackageLoader("payymo.web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=say_phrase,
        extensions=["jinja2.ext.i18n"],
    )
    found.install_gettext_callables(one, one_or_many, newstyle=True)  # type: ignore[attr-defined]
    found.filters.update(
        say=say,
        state=state,
        label=label,
        typed_value=typed_value,
        number=number,
        duration=duration,
        clock_time=clock_time,
        moment=moment,
        exact_moment=exact_moment,
        machine_time=machine_time,
        device=device,
    )
    return found


def machine_time(seconds: float) -> str:
    """The same for programs (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


_BROWSERS: Final = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"))
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device(user_agent: str) -> str:
    """What a user agent calls itself, in words. It may lie, and for what people recognise that does no harm."""
    names = (*_BROWSERS, ("Safari/", "Safari"))
    browser = next((name for mark, name in names if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    if browser is None:
        return user_agent.partition(" ")[0][:40] or Phrase("Unknown program")
    return Phrase("{browser} on {system}", browser=browser, system=system) if system else browser
