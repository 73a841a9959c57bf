"""Follows an issuer in a thread: its metadata, its keys, its feed of revocations, for as long as the process lives.

What cannot be reached is tried again, ever more rarely, but for ever. How old the knowledge is meanwhile, others see by
`Revocations.as_of`, and decide.
"""

import base64
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from payymo_guard.discovery import Endpoints, Reach, discover
from payymo_guard.errors import Refused
from payymo_guard.http import Client, Unreachable
from payymo_guard.introspection import introspect
from payymo_guard.jwks import PublishedKeys
from payymo_guard.reading import FeedReader
from payymo_guard.revocations import Revocations
from payymo_guard.source import SourceStatus

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Between two tries. A server that is back is heard of within this."""
LOCKED_OUT_SECONDS: Final = 15.0
"""After 401 and 403: a person has to do something about it."""
KEYS_PAUSE_SECONDS: Final = 1.0
"""While there is trouble with the keys, the feed is read this often."""
CLOSE_SECONDS: Final = 2.0
_LOCKED_OUT: Final = (401, 403)
_GONE: Final = (404, 410)
_NOT_UNDERSTOOD: Final = (400, 422)
"""What we ask for may be what the metadata of another day allowed."""
_log = logging.getLogger("payymo_guard")


@dataclass(slots=True, eq=False)
class _Here:
    """What belongs to one process, and does not come along when it forks."""

    client: Client | None = None
    endpoints: Endpoints | None = None
    thread: threading.Thread | None = None
    pid: int = field(default_factory=os.getpid)
    name: str = field(default_factory=lambda: base64.urlsafe_b64encode(os.urandom(12)).decode())
    """By which the issuer tells followers apart."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_settled: threading.Event = field(default_factory=threading.Event)
    """There is nothing more to wait for: all is read, or will not be."""
    has_ended: threading.Event = field(default_factory=threading.Event)
    waits_until: float = 0
    started_at: float | None = None
    failures: int = 0
    last_error: str | None = None
    keys_failures: int = 0
    keys_wait_until: float = 0
    keys_are_gone: bool = False
    """Where they were: the metadata may name another place by now."""
    is_unknown: bool = False
    """The issuer does not accept our credential, as the feed has told."""
    heirs: dict[int, "_Here"] = field(default_factory=dict)
    """What follows in a child, by its process: the first that is put here."""


class Follower:
    """A `Source` that follows the issuer over the network."""

    def __init__(
        self,
        reach: Reach,
        revocations: Revocations,
        max_stale_seconds: float,
        *,
        clock: Callable[[], float],
        elapsed: Callable[[], float],
        is_wanted: Callable[[], bool],
    ) -> None:
        """`is_wanted`: whether there is anybody left who could ask."""
        self._reach = reach
        self._is_wanted = is_wanted
        self._elapsed = elapsed
        self._clock = clock
        self._keys = PublishedKeys(revocations.is_key_revoked, elapsed)
        self._reader = FeedReader(revocations, max_stale_seconds, clock=clock, elapsed=elapsed)
        self._here = _Here()

    @property
    def keys(self) -> PublishedKeys:
        """The issuer's published keys."""
        return self._keys

    def start(self) -> None:
        """Begin, unless it has begun."""
        here = self._here
        if here.pid != os.getpid():  # a fork that Python was not told of
            here = self._take_over(here)
        if here.thread is not None or here.has_ended.is_set():
            return
        with here.lock:
            if here.thread is None:
                here.waits_until = time.monotonic() + self._reach.start_seconds
                here.started_at = self._clock()
                thread = threading.Thread(target=self._follow, args=(here,), name="payymo-guard", daemon=True)
                thread.start()
                here.thread = thread

    def wait(self) -> None:
        """Return once there are keys and the feed has been read, or when it has taken too long to hope for."""
        left = self._here.waits_until - time.monotonic()
        if left > 0:
            self._here.is_settled.wait(left)

    def ask(self, token: str) -> None:
        """Let the issuer decide on a token. Raises Refused."""
        here = self._here
        try:
            introspect(self._reach, here.client, here.endpoints, token)
        except Refused as refused:
            if here.is_unknown or (refused.code == "token_revoked" and not self._is_accepted(here)):
                # The same 401 is for a token that is not good and for a credential that is not. Of a good token it
                # would make the client log its user out.
                raise Refused("revocations_stale") from refused
            raise

    def _is_accepted(self, here: _Here) -> bool:
        """Whether the issuer accepts our credential now: the thread, whose question is held, may not have heard yet."""
        if self._reach.credential is None or here.client is None or here.endpoints is None:
            return True
        try:
            self._reader.try_out(here.client, here.endpoints, self._reach.headers)
        except Unreachable as trouble:
            return trouble.status == 403  # it is known, and was made for asking alone
        return True

    def status(self) -> SourceStatus:
        """How it is doing."""
        here = self._here
        return SourceStatus(self._reader.cursor, self._keys.kids, here.started_at, here.last_error)

    def after_fork(self) -> None:
        """In the child: the thread is the parent's, and so are its connections. The place in the feed stays."""
        self._take_over(self._here)

    def _take_over(self, before: _Here) -> _Here:
        """What belongs to the child. Its threads may come at once where nobody has told of the fork: one does it."""
        here = before.heirs.setdefault(os.getpid(), _Here())
        with here.lock:
            if self._here is before:
                self._keys.renew()
                self._reader.is_complete = False
                if before.client is not None:
                    before.client.let_go()
                if before.has_ended.is_set():
                    here.has_ended.set()
                self._here = here
        return here

    def close(self) -> None:
        """End, within a moment."""
        here = self._here
        here.has_ended.set()
        here.is_settled.set()
        if here.client is not None:
            here.client.close()
        if here.thread is not None and here.thread is not threading.current_thread():
            here.thread.join(CLOSE_SECONDS)

    def _follow(self, here: _Here) -> None:
        """The thread's life."""
        while not here.has_ended.is_set() and self._is_wanted():
            try:
                pause = self._turn(here)
            except Unreachable as trouble:
                pause = self._note(here, trouble)
            except Exception as error:  # noqa: BLE001 - if a surprise ended the thread, it would be stale for ever
                pause = self._note(here, Unreachable(f"{type(error).__name__}: {error}"))
            here.has_ended.wait(pause)
        if here.client is not None:
            here.client.close()

    def _turn(self, here: _Here) -> float:
        """Everything that is due once. Answers how long to wait then. Raises Unreachable."""
        if here.client is None:
            here.client = self._reach.client()
        endpoints = here.endpoints or self._discover(here, here.client)
        self._refresh_keys(here, here.client)
        pause = self._reader.read(here.client, endpoints, self._reach.headers, here.name, self._keys.kids)
        if here.failures:
            _log.warning("%s: can be reached again, after %d failures", self._reach.issuer, here.failures)
        here.failures, here.is_unknown = 0, False
        if here.keys_failures:
            self._reader.is_complete = False  # so that nothing keeps us from trying again for long
            return min(max(0.0, here.keys_wait_until - time.monotonic()), KEYS_PAUSE_SECONDS)
        here.last_error = None
        if self._reader.is_complete:
            here.is_settled.set()
        return pause

    def _discover(self, here: _Here, client: Client) -> Endpoints:
        endpoints = here.endpoints = discover(self._reach, client)
        self._keys.connect(client, endpoints)
        return endpoints

    def _refresh_keys(self, here: _Here, client: Client) -> None:
        """Trouble with the keys is no reason not to read the feed."""
        is_due = self._elapsed() >= self._keys.due_at or self._reader.has_key_news
        if not is_due:
            here.keys_failures = 0  # whoever met a key that was not known may have fetched them in our place
            return
        if time.monotonic() < here.keys_wait_until:
            return
        try:
            if here.keys_are_gone:
                self._discover(here, client)
            self._keys.refresh()
        except Unreachable as trouble:
            self._say(here, trouble)
            here.keys_failures += 1
            here.keys_wait_until = time.monotonic() + _pause(trouble, here.keys_failures)
            here.keys_are_gone = trouble.status in _GONE
            return
        self._reader.has_key_news, here.keys_failures, here.keys_are_gone = False, 0, False

    def _note(self, here: _Here, trouble: Unreachable) -> float:
        """Remember what went wrong. Answers how long to wait."""
        self._say(here, trouble)
        here.failures += 1
        here.is_unknown |= trouble.status == 401 and self._reach.credential is not None
        if trouble.status in _LOCKED_OUT:
            here.is_settled.set()  # waiting does not help
        if trouble.status in _GONE or trouble.status in _NOT_UNDERSTOOD:
            here.endpoints = None  # the issuer may have moved them
        if trouble.status in _NOT_UNDERSTOOD:
            self._reader.begin_again()  # our cursor may be of a version that the issuer does not have any more
        self._reader.is_complete = False  # so that the next answer comes at once
        return _pause(trouble, here.failures)

    def _say(self, here: _Here, trouble: Unreachable) -> None:
        """Log what went wrong: once, and not at each try."""
        if str(trouble) != here.last_error and not here.has_ended.is_set():
            level = logging.ERROR if trouble.status in _LOCKED_OUT else logging.WARNING
            _log.log(level, "%s: %s", self._reach.issuer, _sentence(trouble))
        here.last_error = str(trouble)


def _pause(trouble: Unreachable, failures: int) -> float:
    """How long to wait after so many failures; never less than the issuer wants."""
    longest = LOCKED_OUT_SECONDS if trouble.status in _LOCKED_OUT else LONGEST_PAUSE_SECONDS
    pause = min(longest, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10))
    # Many guards lose the same server in the same moment; they should not come back in the same moment.
    return max(trouble.retry_seconds, pause * (0.5 + os.urandom(1)[0] / 510))


def _sentence(trouble: Unreachable) -> str:
    match trouble.status:
        case 401:
            return f"{trouble}: the guard's credential is not accepted. Tokens are refused until it is replaced"
        case 403:
            return f"{trouble}: the guard's credential lacks the scope feed. Tokens are refused until it has it"
        case _:
            return f"{trouble}; trying again"
