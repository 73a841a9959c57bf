"""A real mail server on the loopback, which takes mail, refuses it, hangs or goes away, as a test tells it to."""

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as MAIL
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from payymo.clock import system_clock
from payymo_guard.fake_authority import SERVER, FakeAuthority
from tests.support.house import House

USER, SECRET = "payymo", "a password for the mail server"
LINK = re.compile(r"https?://\S+#token=(\S+?)&tenant=(\S+)")
SENDER = {"sender": "no-reply@payymo.example", "sender_name": "Payymo"}


@dataclass(slots=True)
class MailServer:
    """What the server got, and how it is to answer: the next ones in `answers`, else friendly.

    An answer is what it says to a recipient or to the data; `hang` says nothing for ever, `drop` closes the connection.
    """

    port: int = 0
    authority: Path | None = None
    received: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=lambda: {"RCPT": [], "DATA": []})
    were_encrypted: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    secret: str = SECRET

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of a service that sends its mail here. It waits for as long as a busy machine may need."""
        known: dict[str, Any] = {"host": "localhost", "port": self.port, "timeout_seconds": 10, **SENDER}
        if self.authority is None:
            return known | {"tls": "off"} | more
        return known | {"ca_file": self.authority, "user": USER, "password": SECRET} | more

    async def handle_RCPT(self, _s: SMTP, _session: Session, envelope: Envelope, to: str, _options: Any) -> str:  # noqa: N802
        """The server's library calls it for each recipient."""
        answer = await self._answer("RCPT", _s)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(to)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The server's library calls it when a mail has arrived."""
        answer = await self._answer("DATA", server)
        if answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.received.append(BytesParser(policy=MAIL).parsebytes(envelope.content))  # type: ignore[arg-type]
            self.recipients += envelope.rcpt_tos
            self.were_encrypted.append(session.ssl is not None)
        return answer

    async def _answer(self, command: str, server: SMTP) -> str:
        answer = self.answers[command].pop(0) if self.answers[command] else "250 fine"
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "drop":
            server.transport.abort()  # type: ignore[union-attr]
        return answer

    def check(self, _s: SMTP, _session: Session, _e: Envelope, _mechanism: str, given: Any) -> AuthResult:
        """Whether this is our password."""
        assert isinstance(given, LoginPassword)
        self.logins.append(given.login.decode())
        return AuthResult(success=given == LoginPassword(USER.encode(), self.secret.encode()), handled=False)

    def links(self) -> list[str]:
        """The tokens of the links in the mails, in the order of their arrival."""
        return [found[1] for found in (LINK.search(text_of(mail)) for mail in self.received) if found]


def text_of(mail: EmailMessage) -> str:
    """The plain form of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    text: str = body.get_content()
    return text


@contextmanager
def mail_server(folder: Path | None = None, *, implicit: bool = False) -> Iterator[MailServer]:
    """A server on a free port. With a folder for its certificate it wants TLS, and a login."""
    found, context = MailServer(), None
    if folder is not None:
        context = _context(found, folder)
    loop = asyncio.new_event_loop()

    def serve() -> SMTP:
        if context is None:
            return SMTP(found, loop=loop, hostname="localhost")
        starttls = {} if implicit else {"tls_context": context, "require_starttls": True}
        return SMTP(
            found, loop=loop, hostname="localhost", authenticator=found.check, auth_required=not implicit,
            auth_require_tls=not implicit, **starttls
        )  # fmt: skip

    async def listen() -> asyncio.Server:
        return await loop.create_server(serve, "127.0.0.1", 0, ssl=context if implicit else None)

    # In its own thread altogether: a browser test has a running loop in this one.
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    found.port = listener.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_end(listener), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(listener: asyncio.Server) -> None:
    listener.close()
    waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def _context(found: MailServer, folder: Path) -> ssl.SSLContext:
    authority = FakeAuthority(now=system_clock())
    issued = authority.issue("localhost", dns_names=["localhost"], usages=[SERVER])
    found.authority, pair = folder / "mail-authority.pem", folder / "mail-server.pem"
    found.authority.write_bytes(authority.pem)
    pair.write_bytes(issued.pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context


def deliver(house: House) -> int:
    """Send what is due, also what comes of it. Answers how many messages were looked at."""
    return sum(iter(house.services.courier.deliver_due, 0))
