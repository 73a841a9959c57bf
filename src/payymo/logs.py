"""Structured security logs: one line per event, members from an allow-list, never a secret.

An event is a name, an outcome and identifiers. There is no way to hand in free-form members: passwords, tokens and keys
have no place in `Event`, so they can't end in a log by accident; and what is meant for the audit log alone is not
written here.
"""

import logging
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TextIO

Outcome = Literal["success", "refused", "error"]
OUTCOMES: tuple[Outcome, ...] = ("success", "refused", "error")
Observe = Callable[[str, Outcome], None]
"""Hears of every event: its name and its outcome, and nothing about whom it concerns."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where an event comes from: the request that caused it, the address behind it, and who is known by then.

    `request_id` is `console` for what the operator does at the command line, under the name of `operator`; and the name
    of a duty for what the service does by itself. `service`: the name of a service credential. `on_behalf_of`: as whom
    the actor, an administrator, acts.
    """

    request_id: str = "-"
    address: str = "-"
    actor_id: uuid.UUID | None = None
    service: str | None = None
    operator: str | None = None
    on_behalf_of: uuid.UUID | None = None


BY_ITSELF: Final = Trace(request_id="maintenance")
"""Where events come from that nobody has asked for: duties, and what follows from something else."""
Fact = str | int | bool | None | Sequence[str]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. What it may say is this list: passwords, tokens and keys have no place in it."""

    name: str
    outcome: Outcome = "success"
    trace: Trace = field(kw_only=True)
    tenant_id: uuid.UUID | None = field(default=None, kw_only=True)
    """Which tenant it is about, or in."""
    user_id: uuid.UUID | None = field(default=None, kw_only=True)
    """Whom it is about."""
    session_id: uuid.UUID | None = field(default=None, kw_only=True)
    role: str | None = field(default=None, kw_only=True)
    kid: str | None = field(default=None, kw_only=True)
    """A key's public identifier."""
    secret: str | None = field(default=None, kw_only=True)
    """The name of a named secret, never its value."""
    certificate: str | None = field(default=None, kw_only=True)
    """The name of one of ours."""
    service: str | None = field(default=None, kw_only=True)
    """The name of a service credential."""
    mail: str | None = field(default=None, kw_only=True)
    """The kind of a message."""
    webhook: uuid.UUID | None = field(default=None, kw_only=True)
    """An endpoint."""
    apikey: uuid.UUID | None = field(default=None, kw_only=True)
    """The public identifier of an API key."""
    version: int | None = field(default=None, kw_only=True)
    count: int | None = field(default=None, kw_only=True)
    """Of how many."""
    reason: str | None = field(default=None, kw_only=True)
    """A code from our own vocabulary, never input."""
    old: Mapping[str, Fact] | None = field(default=None, kw_only=True)
    """What was, by name. This and the next are for the audit log alone, and hold nothing personal."""
    new: Mapping[str, Fact] | None = field(default=None, kw_only=True)
    """What is from now on."""
    personal: Mapping[str, str] | None = field(default=None, kw_only=True)
    """What is personal, such as an e-mail address: for the audit log alone, where it is sealed and can be erased."""

    def named(self) -> Iterator[tuple[str, Fact | uuid.UUID]]:
        """What it names, without where it comes from and without values."""
        for name in NAMED:
            value = getattr(self, name)
            if value is not None:
                yield name, value


NAMED: Final = (
    *("tenant_id", "user_id", "session_id", "role", "kid", "secret", "certificate", "service", "mail", "version"),
    *("webhook", "apikey", "count", "reason"),
)


def _origin(trace: Trace) -> Iterator[tuple[str, object]]:
    if trace.actor_id is not None:
        yield "actor_id", trace.actor_id
    if trace.on_behalf_of is not None:
        yield "on_behalf_of", trace.on_behalf_of
    yield "request_id", trace.request_id
    yield "address", trace.address


class SecurityLog:
    """Writes security events. `stream` is standard error unless a test hands in another."""

    def __init__(self, *, json: bool = True, stream: TextIO | None = None) -> None:
        self._json = json
        self._stream = stream or sys.stderr
        self._observers: list[Observe] = []

    @cached_property
    def _logger(self) -> Any:
        import structlog  # noqa: PLC0415 - loads slowly, and commands that only look have nothing to write

        renderer: Any = (
            structlog.processors.JSONRenderer() if self._json else structlog.dev.ConsoleRenderer(colors=False)
        )
        return structlog.wrap_logger(
            structlog.PrintLogger(file=self._stream),
            processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), renderer],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        )

    def observe(self, observe: Observe) -> None:
        """Let somebody hear of every event from now on."""
        self._observers.append(observe)

    def write(self, event: Event) -> None:
        """Write one event."""
        trace = event.trace
        self._say(
            "info",
            event.name,
            outcome=event.outcome,
            **{name: str(value) for name, value in event.named()},
            **{name: str(value) for name, value in _origin(trace)},
        )
        for observe in self._observers:
            observe(event.name, event.outcome)

    def failure(self, error: BaseException, *, trace: Trace, private: str | None = None) -> None:
        """Write an error that strangers only learn the request id of.

        The text of foreign exceptions stays out: database drivers put statements and parameters into it.
        """
        frames = []
        trail = error.__traceback__
        while trail is not None:
            frames.append(f"{trail.tb_frame.f_globals.get('__name__', '?')}:{trail.tb_lineno}")
            trail = trail.tb_next
        self._say(
            "error",
            "failure",
            error=type(error).__name__,
            cause=type(error.__cause__).__name__ if error.__cause__ else None,
            private=private,
            trail=frames[-6:],
            request_id=trace.request_id,
        )

    def advise(self, name: str, detail: str) -> None:
        """Tell the operator what to look at: in the configuration, once, at the start; of health, when it changes."""
        self._say("warning", name, detail=detail)

    def _say(self, level: Literal["info", "warning", "error"], name: str, **members: object) -> None:
        """A line that can't be written, on a full disk or to a reader that has gone, is no reason to refuse anybody."""
        with suppress(OSError):
            getattr(self._logger, level)(name, **members)
