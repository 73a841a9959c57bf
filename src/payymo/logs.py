"""Structured security logs: one line per event, members from an allow-list, never a secret.

An event is a name, an outcome and identifiers. There is no way to hand in free-form members: passwords, tokens, keys
and e-mail addresses have no place in the signature, so they can't end in a log by accident.
"""

import logging
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import structlog

Outcome = Literal["success", "refused", "error"]
OUTCOMES: tuple[Outcome, ...] = ("success", "refused", "error")
Observe = Callable[[str, Outcome], None]
"""Hears of every event: its name and its outcome, and nothing about whom it concerns."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where an event comes from: the request that caused it, the address behind it, and the user who is known by then.

    `request_id` is `console` for what the operator does at the command line.
    """

    request_id: str = "-"
    address: str = "-"
    actor_id: uuid.UUID | None = None


class SecurityLog:
    """Writes security events. `stream` is standard error unless a test hands in another."""

    def __init__(self, *, json: bool = True, stream: TextIO | None = None) -> None:
        renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
        self._logger = structlog.wrap_logger(
            structlog.PrintLogger(file=stream or sys.stderr),
            processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), renderer],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        )
        self._observers: list[Observe] = []

    def observe(self, observe: Observe) -> None:
        """Let somebody hear of every event from now on."""
        self._observers.append(observe)

    def event(  # the allow-list *is* the signature
        self,
        name: str,
        outcome: Outcome,
        *,
        trace: Trace,
        tenant_id: uuid.UUID | None = None,
        user_id: uuid.UUID | None = None,
        session_id: uuid.UUID | None = None,
        role: str | None = None,
        kid: str | None = None,
        secret: str | None = None,
        certificate: str | None = None,
        service: str | None = None,
        mail: str | None = None,
        version: int | None = None,
        count: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Write one event.

        `user_id`: whom it is about. `role`: a role's name. `kid`: a key's public identifier. `secret`: the name of a
        named secret, never its value. `certificate`: the name of one of ours. `service`: the name of a service
        credential. `mail`: the kind of a message. `count`: of how many. `reason`: a code from our own vocabulary, never
        input.
        """
        members = {
            "outcome": outcome,
            "tenant_id": tenant_id,
            "user_id": user_id,
            "session_id": session_id,
            "role": role,
            "kid": kid,
            "secret": secret,
            "certificate": certificate,
            "service": service,
            "mail": mail,
            "version": version,
            "count": count,
            "reason": reason,
            "actor_id": trace.actor_id,
            "request_id": trace.request_id,
            "address": trace.address,
        }
        self._logger.info(name, **{key: str(value) for key, value in members.items() if value is not None})
        for observe in self._observers:
            observe(name, outcome)

    def failure(self, error: BaseException, *, trace: Trace, private: str | None = None) -> None:
        """Write an error that strangers only learn the request id of.

        The text of foreign exceptions stays out: database drivers put statements and parameters into it.
        """
        frames = []
        trail = error.__traceback__
        while trail is not None:
            frames.append(f"{trail.tb_frame.f_globals.get('__name__', '?')}:{trail.tb_lineno}")
            trail = trail.tb_next
        self._logger.error(
            "failure",
            error=type(error).__name__,
            cause=type(error.__cause__).__name__ if error.__cause__ else None,
            private=private,
            trail=frames[-6:],
            request_id=trace.request_id,
        )

    def advise(self, name: str, detail: str) -> None:
        """Tell the operator about the configuration, once, at start."""
        self._logger.warning(name, detail=detail)
