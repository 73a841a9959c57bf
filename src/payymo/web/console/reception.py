"""Receives whoever comes to a page: counts them, finds out who they are, and turns refusals into pages.

What costs least comes first: where the request comes from, the limit, who sends it, whether the form belongs to their
session, and what they may do.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from flask import Blueprint, Response, request

from payymo.brands.service import Brands
from payymo.clock import Clock
from payymo.errors import (
    Impersonated,
    InsufficientScope,
    LoginTooOld,
    MissingToken,
    NotFound,
    Overloaded,
    PayymoError,
    TenantUnknown,
    TooManyRequests,
    Unavailable,
)
from payymo.logs import Event
from payymo.roles.service import Actor
from payymo.sessions.acting import Acting
from payymo.sessions.browser import Visitor
from payymo.sessions.browsers import Browsers
from payymo.web import problems
from payymo.web.caller import Gate, Principal
from payymo.web.console import forms
from payymo.web.console.assets import PREFIX, Assets
from payymo.web.console.branding import LOGOS, logo_response
from payymo.web.console.cookies import Cookies
from payymo.web.console.entry import CONFIRM, HOME, SIGN_OUT, within
from payymo.web.console.pages import Answer, Onward, Page, Sheet, pages_of, ways_back
from payymo.web.console.rendering import Renderer, go_on, lead_to
from payymo.web.console.visit import Visit
from payymo.web.csrf import require_own_origin, require_token
from payymo.web.dispatch import Mount, add_allowed, told
from payymo.web.pacing import SHED
from payymo.web.reading import MAX_BODY

ActorOf = Callable[[Principal, str], Actor]
Handlers = Mapping[str, tuple[Page, Callable[..., Answer]]]
KEPT_BYTES: Final = MAX_BODY - 4096
FORMS_OF_REFUSALS: Final = (problems.CONTENT_TYPE, "text/html")
"""Who takes everything gets the first one."""
ASSETS: Final = f"{PREFIX}<path:name>"
"""Not limited: one page takes several, and they are remembered."""


class Reception:
    """Puts desks on a blueprint."""

    def __init__(
        self,
        *,
        mount: Mount,
        gate: Gate,
        browsers: Browsers,
        acting: Acting,
        actor_of: ActorOf,
        record: Callable[[Event], None],
        cookies: Cookies,
        assets: Assets,
        brands: Brands,
        renderer: Renderer,
        clock: Clock,
    ) -> None:
        self._mount = mount
        self._gate = gate
        self._browsers = browsers
        self._acting = acting
        self._actor_of = actor_of
        self._record = record
        self._cookies = cookies
        self._assets = assets
        self._brands = brands
        self._renderer = renderer
        self._clock = clock
        self.pages: list[Page] = []

    def open(self, blueprint: Blueprint, *desks: object) -> None:
        """Add every page of the desks, and the files that pages are made with."""
        for desk in desks:
            handlers = {declared.name: (declared, handler) for declared, handler in pages_of(desk)}
            for declared, handler in handlers.values():
                self.pages.append(declared)
                blueprint.add_url_rule(
                    declared.path,
                    endpoint=f"{type(desk).__name__}-{declared.name}",
                    view_func=self._view(declared, handler, handlers),
                    methods=[declared.method],
                    merge_slashes=False,
                )
            for sent, shown in ways_back([declared for declared, _ in handlers.values()]):
                name = f"{type(desk).__name__}-{sent.name}-back"
                blueprint.add_url_rule(sent.path, name, partial(lead_to, shown), methods=["GET"], merge_slashes=False)
        for status in (404, 405):
            blueprint.app_errorhandler(status)(self._missing)
        blueprint.add_url_rule(ASSETS, endpoint="console-assets", view_func=self._asset, merge_slashes=False)
        blueprint.add_url_rule(LOGOS, endpoint="console-logo", view_func=self._logo, merge_slashes=False)

    def _missing(self, error: Exception) -> Response:
        """The answer where there is nothing, or no such method: a page for people, and what programs understand."""
        is_for_people = request.accept_mimetypes.best_match(FORMS_OF_REFUSALS) == "text/html"
        if request.path.startswith("/api/") or not is_for_people:
            return self._mount.refuse(error)
        refusal, visit = self._mount.note(error), self._meet()
        row = problems.row_of(refusal)
        with suppress(PayymoError):  # or the page has a form that is not of their session
            self._recognise(visit)
        sheet = Sheet("refusal.html", {"title": row.title, "detail": refusal.detail}, row.status)
        return add_allowed(self._respond(sheet, visit), error)

    def _asset(self, name: str) -> Response:
        return self._assets.answer(request, f"{PREFIX}{name}")

    def _logo(self, digest: str) -> Response:
        """The logo of the tenant that the address names. One of another tenant is not there, as is one of nobody's."""
        caller = self._gate.meet(request, self._mount.request_id)
        caller.name_tenant(request.args.get("tenant") or None)
        self._mount.spend(caller, "default")
        try:
            tenant_id = caller.tenant.id
        except TenantUnknown:
            raise NotFound from None
        return logo_response(self._brands.get_logo(tenant_id, digest))

    def _view(self, declared: Page, handler: Callable[..., Answer], handlers: Handlers) -> Callable[..., Response]:
        pacer = self._mount.pacer

        def view(**path: Any) -> Response:
            began, visit = pacer.clock(), self._meet()
            try:
                self._enter(declared, visit)
                response = self._respond(handler(visit, **path, **visit.inputs(declared)), visit)
            except Exception as error:  # noqa: BLE001 - the one place where every error becomes a page
                refusal = self._mount.note(told(visit.caller, error))
                response = self._respond(self._refuse(declared, handlers, visit, refusal, path), visit)
            pacer.hold(declared.pace, response.status_code, visit.caller, began=began)
            return response

        return view

    def _meet(self) -> Visit:
        caller = self._gate.meet(request, self._mount.request_id)
        return Visit(caller, self._cookies, None, self._cookies.visit(request))

    def _enter(self, declared: Page, visit: Visit) -> None:
        if SHED in request.environ:
            raise Overloaded
        self._cookies.require_readable(request)
        if declared.method == "POST":
            require_own_origin(request)
            visit.fields, visit.upload = forms.read_sent(request, upload=declared.upload)
        if declared.access == "anyone":
            visit.caller.name_tenant(visit.fields.get("tenant") or request.args.get("tenant") or None)
        self._mount.spend(visit.caller, declared.limit, spares_devices=declared.spares_devices)
        self._recognise(visit)
        if declared.access == "signed-in" and visit.visitor is not None:  # elsewhere it is not on their word
            visit.caller.user = visit.principal
        if visit.visitor is None:
            if declared.access == "signed-in":
                visit.stay_in_tenant()
                raise MissingToken
            _ = visit.tenant_id  # there is none: then there are no pages of it
        if declared.method == "POST":
            require_token(visit.fields.get(forms.TOKEN_FIELD, ""), visit.secret)
        _require_themselves(declared, visit)
        if declared.permission is not None:
            self._require(visit, declared.permission)
        if declared.is_dangerous and not visit.browser.is_fresh_at(int(self._clock())):
            raise LoginTooOld

    def _recognise(self, visit: Visit) -> None:
        """Find out who is behind the cookie. Where the host has a tenant of its own, nobody of another one is."""
        text = self._cookies.session(request)
        visitor = None if text is None else self._browsers.find(text)
        if visitor is None:
            if self._cookies.acting(request) is not None:
                visit.act_no_more()
            return
        by_host = self._gate.meet(request, self._mount.request_id).named_tenant_id  # whatever the page's address says
        if by_host not in {None, visitor.browser.tenant_id}:
            return
        visit.visitor = self._as_whom(visit, visitor)
        visit.secret = visit.visitor.secret

    def _as_whom(self, visit: Visit, own: Visitor) -> Visitor:
        """Who they act as; themselves, when they don't, or not any more."""
        text = self._cookies.acting(request)
        if text is None:
            return own
        found = self._acting.find(own, text)
        if found is None:
            visit.was_acting = True
            visit.act_no_more()
        return found or own

    def _require(self, visit: Visit, permission: str) -> None:
        """The permission has to be granted now. The transaction that acts on it asks again."""
        principal = visit.caller.principal
        if not visit.may(permission):
            event = Event("permission.required", "refused", trace=visit.caller.trace, user_id=principal.user_id)
            self._record(replace(event, tenant_id=principal.tenant_id, reason=permission))
            raise InsufficientScope
        visit.caller.permitted = self._actor_of(principal, permission)

    def _refuse(
        self, declared: Page, handlers: Handlers, visit: Visit, refusal: PayymoError, path: Mapping[str, Any]
    ) -> Answer:
        """What is shown instead. What was typed is not lost, whatever was wrong."""
        row = problems.row_of(refusal)
        if isinstance(refusal, TooManyRequests | Overloaded | Unavailable):
            wait = str(refusal.retry_after)
            visit.after.append(lambda response: response.headers.set("Retry-After", wait))
        if isinstance(refusal, MissingToken) and visit.visitor is None:
            if declared.path == SIGN_OUT:  # they are: there is nothing to go on with
                visit.leave()
                return Sheet("sign_in.html", {"next": HOME, "kept": ""}, row.status)
            return self._first(declared, visit, "sign_in.html", "/sign-in")
        if isinstance(refusal, LoginTooOld) and visit.visitor is not None and declared.is_dangerous:
            return self._first(declared, visit, "confirm.html", CONFIRM)
        may_come_back = row.status < 500 or (isinstance(refusal, Overloaded) and bool(visit.fields))
        if declared.refused is not None and may_come_back:
            try:
                sheet = self._show_again(*handlers[declared.refused], visit, refusal, path)
                if isinstance(sheet, Sheet):
                    return Sheet(sheet.template, sheet.facts, row.status)
            except PayymoError as first:  # the page is refused, too: what it is about is gone, or was never here
                visit.tried, refusal, row = forms.Tried(), first, problems.row_of(first)
        detail = PayymoError.default_detail if row.status == 500 else refusal.detail
        return Sheet("refusal.html", {"title": row.title, "detail": detail}, row.status)

    def _show_again(
        self,
        shown: Page,
        show: Callable[..., Answer],
        visit: Visit,
        refusal: PayymoError,
        path: Mapping[str, Any],
    ) -> Answer | None:
        """The page of a refused form, with what was typed; None: they may not see it. Raises what the page does."""
        if not self._may_see(shown, visit):
            return None
        visit.tried = forms.tried(visit.fields if request.method == "POST" else request.args, refusal)
        query = {} if shown.query is None else {"query": shown.query()}
        about = {name: value for name, value in path.items() if f":{name}>" in shown.path}
        return show(visit, **about, **query)

    def _may_see(self, shown: Page, visit: Visit) -> bool:
        if shown.access == "anyone":
            return True
        if visit.visitor is None or (shown.permission is not None and not visit.may(shown.permission)):
            return False
        if visit.actor is not None and not shown.is_for_actors:
            return False
        return not shown.is_dangerous or visit.browser.is_fresh_at(int(self._clock()))

    def _first(self, declared: Page, visit: Visit, template: str, page: str) -> Answer:
        """Have them prove themselves, and then go on where they were."""
        if declared.method == "GET":
            query = request.query_string.decode("ascii", "ignore")
            back = f"{page}?next={quote(request.path + (f'?{query}' if query else ''), safe='/')}"
            return Onward(f"{back}&tenant={quote(visit.caller.slug, safe='')}" if visit.caller.slug else back)
        if declared.path == CONFIRM:  # who signs in has given their password: on to what it was asked for
            facts = {"next": within(visit.fields.get("next", "")), "kept": visit.fields.get(forms.KEPT_FIELD, "")}
            return Sheet(template, facts, 401)
        typed = [[name, value] for name, values in forms.keep(visit.fields).items() for value in values]
        kept = json.dumps(typed, ensure_ascii=False)
        fits = len(quote(kept)) <= KEPT_BYTES  # what is sent along has to pass again, encoded once more
        return Sheet(template, {"next": request.path, "kept": kept if fits else None}, 401)

    def _respond(self, answer: Answer, visit: Visit) -> Response:
        if isinstance(answer, Sheet):
            response = self._renderer.render(answer, visit)
        elif isinstance(answer, Onward):
            response = go_on(answer)
        else:
            response = answer
        for act in visit.after:
            act(response)
        return response


def _require_themselves(declared: Page, visit: Visit) -> None:
    """Raise Impersonated for who acts as somebody, where they may not. What everybody may is done on nobody's word."""
    if declared.access == "signed-in" and visit.actor is not None and not declared.is_for_actors:
        raise Impersonated
