"""Requests to HashiCorp Vault: one answer, or one sentence why there is none. What is asked, others know.

The library's own errors carry URLs and what Vault said, so none of them gets out of here, and nothing that was sent or
answered is ever part of a message. Nothing is tried twice, except once with a newer token after a 403, which says that
nothing was done.
"""

import base64
import binascii
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import hvac
from hvac.adapters import RawAdapter
from urllib3.util import Timeout

from payymo.errors import Misconfigured, Unavailable
from payymo.files import read_private
from payymo.secrets.model import Access, VaultAccess
from payymo.secrets.timely import POOLS

IDLE_SECONDS: Final = 30
"""Connections that were idle for longer are not used again: something between may have forgotten them silently."""
MAX_ANSWER_BYTES: Final = 2**20
"""No answer that we understand is longer: a secret has 64 KiB."""
_CHUNK: Final = 2**16
TOKEN_SETTING: Final = "PAYYMO_VAULT__TOKEN"  # noqa: S105 - the name of the setting
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_SEGMENT = r"(?!\.+(?:/|$))[A-Za-z0-9_.-]+"
PATH: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
"""Paths that mean the same to us, to Vault and to every proxy between: no dots alone, nothing to be escaped."""
_ANSWERS: Final = {200, 204, 400, 403, 404}
"""Answers that say something of what was asked. Others say that Vault can't answer now."""
_WHY: Final = {
    429: "it takes no more requests now",
    472: "it is a standby for disaster recovery: name the active one",
    473: "it is a standby: name the active one",
    501: "it is not initialised",
    503: "it is sealed, or in maintenance",
}

Ask = Callable[[Any], Any]
"""Asks an `hvac.Client` something, and answers the `requests.Response`. The library has no types: they begin here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Vault said. The `repr` hides it."""

    status: int
    body: Mapping[str, Any] = field(repr=False)

    @property
    def data(self) -> Mapping[str, Any]:
        """The `data` of the body; empty where there is none."""
        found = self.body.get("data")
        return found if isinstance(found, dict) else {}

    def mentions(self, words: str) -> bool:
        """Whether one of its errors has these words."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(isinstance(error, str) and words in error for error in errors)


class TokenSource:
    """The token, or the file that a Vault Agent keeps one in: it is read each time, for the agent writes it anew."""

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def read(self) -> str:
        """The present token. Raises Misconfigured, never showing it."""
        scheme, _, path = self._setting.partition(":")
        if scheme != "file":
            return _sound(self._setting.strip(), TOKEN_SETTING)
        if not path:
            raise Misconfigured([f"{TOKEN_SETTING}: write file:/path of the file with the token"])
        return _sound(read_private(Path(path), group_may_read=True).decode("ascii", "replace").strip(), path)


def _sound(token: str, source: str) -> str:
    """What is no token must not get into a header: the library would show it in its complaint."""
    if _TOKEN.fullmatch(token) is None:
        raise Misconfigured([f"{source}: not a token of Vault"])
    return token


class Vault:
    """Vault at one address. Safe to use from several threads, and after a fork.

    Each thread has connections of its own: the library doesn't promise that a session can be shared. A process that was
    forked opens its own: two that speak over one would read each other's answers.
    """

    def __init__(self, access: VaultAccess, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._token = TokenSource(access.token)
        self._monotonic = monotonic
        self._mine = threading.local()

    def call(self, what: str, ask: Ask) -> Answer:
        """What Vault answers: with 200, 204, 400, 403 or 404, and a JSON object except with 204.

        Raises Unavailable, whose private reason names `what` was asked (such as "read on secret/data/x"), and
        Misconfigured for a token file.
        """
        token = self._token.read()
        answer = self._once(what, ask, token)
        if answer.status == 403 and (renewed := self._token.read()) != token:
            answer = self._once(what, ask, renewed)
        return answer

    def says(self, what: str, why: str) -> str:
        """A sentence on what was asked, and what came of it."""
        return f"Vault at {self._access.address}: {what}: {why}"

    def denied(self, what: str) -> str:
        """The sentence for a 403. Vault doesn't tell a bad token from a policy that lacks something."""
        return self.says(what, "refused: the token is not valid (any more), or none of its policies allows this")

    def _once(self, what: str, ask: Ask, token: str) -> Answer:
        client = self._client(token)
        status, content, failure = 0, None, ""
        try:
            response = ask(client)
            status = int(response.status_code)
            content = _content_of(response)
        except (OSError, ValueError) as error:  # every error of the HTTP library is one of them
            failure = type(error).__name__
        if failure:
            raise Unavailable(private=self.says(what, f"no answer ({failure})"))
        if 300 <= status < 400:
            raise Unavailable(private=self.says(what, "it sends us elsewhere, where we don't go: name the active one"))
        if status not in _ANSWERS:
            raise Unavailable(private=self.says(what, _WHY.get(status, f"it answers with {status}")))
        body = {} if status == 204 else _json_of(content)
        if body is None:
            raise Unavailable(private=self.says(what, f"this {status} can't be read: is it Vault that answers?"))
        return Answer(status, body)

    def _client(self, token: str) -> Any:
        mine, now = self._mine, self._monotonic()
        if getattr(mine, "pid", None) != os.getpid() or now - mine.used > IDLE_SECONDS:
            mine.client, mine.pid = self._new_client(token), os.getpid()
        mine.used = now
        mine.client.token = token
        return mine.client

    def _new_client(self, token: str) -> Any:
        access = self._access
        client = hvac.Client(
            url=access.address,
            token=token,
            namespace=access.namespace,
            verify=str(access.ca_file) if access.ca_file else True,
            timeout=Timeout(total=access.timeout_seconds),  # for the whole of a request, with POOLS
            cert=(),  # None would let variables of the environment decide
            allow_redirects=False,  # the token would go along
            adapter=RawAdapter,
            ignore_exceptions=True,  # answers are looked at here, and not put into exceptions
            strict_http=True,  # GET ?list=true: not everything between knows the method LIST
        )
        client.session.stream = True  # what is read of an answer is decided here
        client.session.headers["Accept-Encoding"] = "identity"  # a small answer can't turn out to be a huge one
        for adapter in client.session.adapters.values():
            adapter.poolmanager.pool_classes_by_scheme = POOLS
        client.session.trust_env = False  # neither proxies nor passwords (.netrc) of the environment
        return client


def _content_of(response: Any) -> bytes | None:
    """The body; None when it is longer than any that Vault would send, or encoded, which was not asked for."""
    content = bytearray()
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        return None
    for chunk in response.iter_content(_CHUNK):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            response.close()
            return None
    return bytes(content)


def _json_of(content: bytes | None) -> dict[str, Any] | None:
    try:
        body = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def connect(access: Access, source: str) -> Vault:
    """Vault as the settings say; nothing is sent yet. Raises Misconfigured, naming who wants it."""
    if access.vault is None:
        raise Misconfigured([f"{source} is in Vault, and PAYYMO_VAULT__ADDRESS is not set"])
    ca_file = access.vault.ca_file
    if ca_file is not None and not ca_file.is_file():
        raise Misconfigured([f"PAYYMO_VAULT__CA_FILE: there is no file {ca_file}"])
    return Vault(access.vault)


def encode(value: bytes) -> str:
    """Octets as JSON can carry them: base64 (RFC 4648 §4)."""
    return base64.b64encode(value).decode()


def decode(text: str) -> bytes | None:
    """The octets again; None when it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
