"""One request for a page: who is there, what they have sent, and what the answer does to their browser."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from flask import Response
from werkzeug.datastructures import MultiDict

from payymo.errors import MissingToken, NotFound, PayymoError, TenantUnknown
from payymo.languages import Wish
from payymo.sessions.browser import Browser, Cookie, Visitor, read_cookie
from payymo.users.model import User
from payymo.web.caller import Caller, Principal
from payymo.web.console.cookies import Cookies
from payymo.web.console.forms import Tried, read_form
from payymo.web.console.language import wish_of
from payymo.web.console.pages import Page
from payymo.web.reading import read_query
from payymo_guard import permits

OF_ALL: Final = ("done", "tenant")
"""Parameters that every page understands."""


@dataclass(slots=True)
class Visit:
    """`secret`: what the tokens of forms are made of; None: nobody is signed in, and the browser has none yet."""

    caller: Caller
    cookies: Cookies
    visitor: Visitor | None
    secret: bytes | None
    fields: MultiDict[str, str] = field(default_factory=MultiDict)
    upload: bytes | None = None
    """The file that came with the form."""
    tried: Tried = field(default_factory=Tried)
    after: list[Callable[[Response], object]] = field(default_factory=list)
    """What is done to the answer, whatever it is."""
    was_acting: bool = False
    """They acted as somebody when they were last here, and that is over."""

    @property
    def who(self) -> Visitor:
        """Who is signed in. Raises MissingToken."""
        if self.visitor is None:
            raise MissingToken
        return self.visitor

    @property
    def browser(self) -> Browser:
        """Their browser."""
        return self.who.browser

    @property
    def user(self) -> User:
        """The user."""
        return self.who.user

    @property
    def actor(self) -> Visitor | None:
        """Who it really is that acts as this user; None: the user."""
        return None if self.visitor is None else self.visitor.actor

    @property
    def own(self) -> Browser:
        """The browser's session of whoever sits before it. Raises MissingToken."""
        return self.who.browser if self.actor is None else self.actor.browser

    @property
    def principal(self) -> Principal:
        """The user, as other routes know them. Raises MissingToken."""
        browser, held = self.who.browser, self.who.grants.permissions
        actor_id = None if self.actor is None else self.actor.user.id
        return Principal(browser.tenant_id, browser.user_id, browser.session_id, held, actor_id=actor_id)

    @property
    def tenant_id(self) -> uuid.UUID:
        """Whose pages these are: of the user, else of the tenant that the request names. Raises TenantUnknown."""
        return self.caller.tenant.id if self.visitor is None else self.visitor.browser.tenant_id

    @property
    def wish(self) -> Wish:
        """In which language they would rather be written to, as far as their browser says."""
        request = self.caller.request
        return wish_of(request, self.cookies.language(request))

    @property
    def place(self) -> tuple[str, str] | None:
        """The tenant, as requests name it and as people do; None: there is no such tenant."""
        if self.visitor is not None:
            return self.visitor.browser.tenant_slug, self.visitor.browser.tenant_name
        try:
            return self.caller.tenant.slug, self.caller.tenant.name
        except PayymoError:
            return None

    def stay_in_tenant(self) -> None:
        """Nobody is signed in any more: be of the tenant that the address names, else of the one that the cookie did.

        Whoever it stood for signs in there again. A host name of a tenant's own overrules both, as ever.
        """
        caller = self.caller
        if caller.request.args.get("tenant"):
            caller.name_tenant(caller.request.args["tenant"])
            return
        cookie = read_cookie(self.cookies.session(caller.request) or "")
        with suppress(NotFound, TenantUnknown):
            if cookie is not None and caller.named_tenant_id is None and caller.tenant.id != cookie.tenant_id:
                caller.name_tenant(caller.tenants.get(cookie.tenant_id).slug)

    def inputs(self, declared: Page) -> dict[str, object]:
        """What a page is given of what was sent, as it declares. Raises InvalidInput, MalformedRequest."""
        found: dict[str, object] = {}
        if declared.form is not None:
            found["form"] = read_form(declared.form, self.fields)
        if declared.upload is not None:
            found["upload"] = self.upload
        if declared.query is not None:
            passed_over = set(OF_ALL)
            if declared.access == "anyone":  # links there come by mails and other sites, which add to them for counting
                passed_over |= set(self.caller.request.args) - set(declared.query.model_fields)
            found["query"] = read_query(declared.query, but=passed_over, is_of_form=True)
        return found

    def may(self, permission: str) -> bool:
        """Whether they hold a permission now. For what is shown: what is done asks again where it is done."""
        return self.visitor is not None and permits(self.visitor.grants.permissions, permission)

    def actor_may(self, permission: str) -> bool:
        """Whether who acts as somebody holds a permission themselves."""
        return self.actor is not None and permits(self.actor.grants.permissions, permission)

    def act_by(self, cookie: Cookie) -> None:
        """Have the browser bring this cookie, too: of the session in which they act as somebody."""
        self.secret = cookie.secret.secret
        self.after.append(lambda response: self.cookies.keep_acting(response, cookie.text))

    def act_no_more(self) -> None:
        """Have the browser forget that cookie."""
        self.after.append(self.cookies.drop_acting)

    def carry(self, cookie: Cookie) -> None:
        """Have the browser bring this cookie from now on."""
        self.secret = cookie.secret.secret
        self.after.append(lambda response: self.cookies.keep_session(response, cookie.text))

    def leave(self) -> None:
        """Have the browser forget its session."""
        if self.actor is not None:
            self.act_no_more()
        self.visitor, self.secret = None, None
        self.after.append(self.cookies.drop_session)
