"""The cookies of the pages: who is signed in, and which browser a form was made for before that.

`__Host-`: nobody but this host sets a cookie of this name (RFC 6265bis §4.1.3.2); for https alone. `Lax`: a link in a
mail finds its reader signed in; what changes something is checked otherwise, too (`payymo.web.csrf`).
"""

import base64
import binascii
from typing import Final

from flask import Request, Response

from payymo.errors import MalformedRequest
from payymo.web.reading import UNREADABLE

SESSION: Final = "payymo-session"
ACTING: Final = "payymo-acting"
VISIT: Final = "payymo-visit"
LANGUAGE: Final = "payymo-language"
YEAR_SECONDS: Final = 31_536_000
VISIT_BYTES: Final = 32
_PREFIX: Final = "__Host-"


class Cookies:
    """Reads and sets them."""

    def __init__(self, *, is_https: bool) -> None:
        self._is_https = is_https
        names = (f"{_PREFIX}{name}" if is_https else name for name in (SESSION, ACTING, VISIT, LANGUAGE))
        self._session, self._acting, self._visit, self._language = names

    def require_readable(self, request: Request) -> None:
        """Raise MalformedRequest where ours may be among what can't be read: no form would ever be of its browser.

        Whatever else is under this domain sets cookies for us, too, and browsers send all of them in one header.
        """
        if "cookie" in request.environ.get(UNREADABLE, ()):
            raise MalformedRequest(
                "Your browser sends a cookie that can't be read, perhaps of another site of this domain, and so none "
                "of ours can be. Delete the cookies of this site, and come again."
            )

    def session(self, request: Request) -> str | None:
        """What stands for a session, as the browser says it."""
        return request.cookies.get(self._session)

    def acting(self, request: Request) -> str | None:
        """What stands for a session in which they act as somebody else, beside their own."""
        return request.cookies.get(self._acting)

    def language(self, request: Request) -> str | None:
        """The language that was chosen in this browser, as it says."""
        return request.cookies.get(self._language)

    def visit(self, request: Request) -> bytes | None:
        """The secret of a browser in which nobody is signed in."""
        try:
            secret = base64.b64decode(request.cookies.get(self._visit, ""), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        return secret if len(secret) == VISIT_BYTES else None

    def keep_session(self, response: Response, text: str) -> None:
        """Stay signed in until the browser is closed. What was before is forgotten."""
        self._set(response, self._session, text)
        self._drop(response, self._visit)

    def drop_session(self, response: Response) -> None:
        """Be signed in no more."""
        self._drop(response, self._session)

    def keep_acting(self, response: Response, text: str) -> None:
        """Act as somebody, until the browser is closed at the latest."""
        self._set(response, self._acting, text)

    def drop_acting(self, response: Response) -> None:
        """Be oneself again."""
        self._drop(response, self._acting)

    def keep_visit(self, response: Response, secret: bytes) -> None:
        """Know this browser again, though nobody is signed in."""
        self._set(response, self._visit, base64.urlsafe_b64encode(secret).decode())

    def keep_language(self, response: Response, code: str) -> None:
        """Be in this language for a year, also when somebody else signs in."""
        self._set(response, self._language, code, max_age=YEAR_SECONDS)

    def _set(self, response: Response, name: str, text: str, *, max_age: int | None = None) -> None:
        response.set_cookie(name, text, max_age=max_age, path="/", secure=self._is_https, httponly=True, samesite="Lax")

    def _drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._is_https, httponly=True, samesite="Lax")
