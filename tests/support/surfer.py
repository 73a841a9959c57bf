"""A browser without a screen: it keeps cookies, reads the forms of a page, and sends them as browsers do."""

import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from payymo.web.pacing import HOLD
from tests.support.house import PASSWORD, House

HOST = "localhost"
OURS = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Form:
    """A form of a page: where it goes, and what stands in it."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given["action"]))
        elif tag == "input" and self.forms and _is_sent(given):
            self.forms[-1].fields.append((given["name"], given.get("value", "")))


def _is_sent(given: dict[str, str]) -> bool:
    is_chosen = given.get("type") not in {"checkbox", "radio"} or "checked" in given
    return is_chosen and "name" in given and "disabled" not in given


class Surfer:
    """One browser of one person."""

    def __init__(self, house: House, *, tenant: str | None = None, scheme: str = "http", host: str = HOST) -> None:
        self.http = house.app.test_client()
        self.tenant = tenant
        self.base = f"{scheme}://{host}"
        self.ours = {"Origin": self.base, "Sec-Fetch-Site": "same-origin"}
        self.answer: TestResponse
        self.forms: list[Form] = []

    def get(self, path: str, **given: Any) -> TestResponse:
        """Fetch a page, and go on where it leads."""
        return self._land(self.open("GET", path, **given))

    def send(self, action: str, headers: dict[str, str] | None = None, **typed: str) -> TestResponse:
        """Fill in and send the form of the present page that goes to `action`; the answer as it is."""
        form = next(found for found in self.forms if found.action == action)
        fields = [(name, value) for name, value in form.fields if name not in typed]
        return self.post(action, [*fields, *typed.items()], headers=headers)

    def submit(self, action: str, **typed: str) -> TestResponse:
        """The same, and go on where it leads."""
        return self._land(self.send(action, **typed))

    def post(
        self, path: str, fields: list[tuple[str, str]] | dict[str, str], headers: dict[str, str] | None = None
    ) -> TestResponse:
        """Send fields, with what a browser says of where they come from."""
        return self._read(self.open("POST", path, data=fields, headers=self.ours if headers is None else headers))

    def force(self, path: str, **fields: str | list[str]) -> TestResponse:
        """Send a form that is not on the present page, with the token of one that is."""
        token = next(value for form in self.forms for name, value in form.fields if name == "csrf")
        return self.open("POST", path, data={"csrf": token, **fields}, headers=self.ours)

    def open(self, method: str, path: str, **given: Any) -> TestResponse:
        """One request."""
        if isinstance(data := given.pop("data", None), list):
            data = MultiDict(data)
        environ = {HOLD: lambda _moment: None}
        return self.http.open(path, base_url=self.base, method=method, data=data, environ_overrides=environ, **given)

    def sign_in(self, name: str = "alice", password: str = PASSWORD) -> TestResponse:
        """Sign `name@example.com` in."""
        self.get("/sign-in" + (f"?tenant={self.tenant}" if self.tenant else ""))
        return self.submit("/sign-in", email=f"{name}@example.com", password=password)

    def cookie(self, name: str = "payymo-session") -> str | None:
        """What the browser keeps under a name."""
        found = self.http.get_cookie(name, HOST)
        return None if found is None else found.value

    @property
    def text(self) -> str:
        """The words of the present page."""
        body = re.sub(r"<(script|style|title)\b.*?</\1>", " ", self.answer.text, flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]+>", " ", body).split())

    def _land(self, response: TestResponse) -> TestResponse:
        for _ in range(4):
            if response.status_code != 303:
                break
            response = self.open("GET", response.headers["Location"])
        return self._read(response)

    def _read(self, response: TestResponse) -> TestResponse:
        self.answer = response
        reader = _Reader()
        if response.mimetype == "text/html":
            reader.feed(response.text)
            self.forms = reader.forms
        return response


def signed_in(house: House, name: str, *, tenant: str | None = None) -> Surfer:
    """A browser of an existing user, who is signed in."""
    surfer = Surfer(house, tenant=tenant)
    assert surfer.sign_in(name).status_code == 200
    return surfer


def text_of(answer: TestResponse) -> str:
    """A page as it is written, with its characters as people read them."""
    return unescape(answer.text)
