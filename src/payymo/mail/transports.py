"""How a mail leaves: by SMTP; in development also to the console, or into a folder."""

import base64
import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Literal, Protocol, TextIO

from payymo.entropy import Entropy
from payymo.files import make_private_folder, write_once
from payymo.mail.smtp import Smtp, SmtpTls

TlsMode = Literal["starttls", "implicit", "off"]
_LOGGED_IN: Final = 235


class NotSent(Exception):
    """An attempt failed. `reason`: a code of our own, never what the server said. `is_final`: it would fail again."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        self.reason = reason
        self.is_final = is_final
        super().__init__(reason)


class Transport(Protocol):
    """What takes a mail over."""

    def send(self, mail: EmailMessage) -> None:
        """Return when somebody else has taken the mail. Raises NotSent; then it is unknown whether they have."""
        ...


@dataclass(frozen=True, slots=True)
class SmtpAccess:
    """Where the mail server is, and how it is spoken to. `ca_file`: its authority, where the system has not got it."""

    host: str
    port: int
    tls: TlsMode
    user: str | None
    password: str = field(repr=False)
    ca_file: Path | None
    timeout_seconds: int


class SmtpTransport:
    """A mail server (RFC 5321). One connection for each mail: none lies idle, and none is broken by the one before."""

    def __init__(self, access: SmtpAccess) -> None:
        self._access = access
        self._context = _context_for(access)

    def send(self, mail: EmailMessage) -> None:
        """See Transport."""
        sender, to = (mail[name].addresses[0].addr_spec for name in ("From", "To"))
        with _telling_why():
            server = self._connect(sender.rpartition("@")[2])
            try:
                self._introduce(server)
                server.send_message(mail, sender, [to])
            finally:
                with contextlib.suppress(smtplib.SMTPException, OSError):  # it has the mail, or it never will
                    server.quit()
                server.close()

    def _connect(self, own_name: str) -> smtplib.SMTP:
        """A connection. We say our name ourselves: asking the system for it may take as long as DNS likes."""
        access = self._access
        if access.tls == "implicit":
            return SmtpTls(
                access.host,
                access.port,
                local_hostname=own_name,
                timeout=access.timeout_seconds,
                context=self._context,
            )
        return Smtp(access.host, access.port, local_hostname=own_name, timeout=access.timeout_seconds)

    def _introduce(self, server: smtplib.SMTP) -> None:
        """Encrypt, then prove who we are: a server that doesn't offer TLS never sees the password (RFC 3207 §6)."""
        if self._access.tls == "starttls":
            server.ehlo_or_helo_if_needed()
            if not server.has_extn("starttls"):
                raise NotSent("starttls-missing")
            server.starttls(context=self._context)
        if self._access.user is not None:
            _log_in(server, self._access.user, self._access.password)


def _context_for(access: SmtpAccess) -> ssl.SSLContext:
    """Whom we trust; nobody where nothing is encrypted: to read the system's authorities takes as long as a command."""
    if access.ca_file is not None:
        return ssl.create_default_context(cafile=str(access.ca_file))
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if access.tls == "off" else ssl.create_default_context()


def _log_in(server: smtplib.SMTP, user: str, password: str) -> None:
    """Python speaks ASCII alone. Other letters are known to PLAIN, in UTF-8 (RFC 4616 §2)."""
    if user.isascii() and password.isascii():
        server.login(user, password)
        return
    server.ehlo_or_helo_if_needed()
    if "PLAIN" not in server.esmtp_features.get("auth", "").upper().split():
        raise NotSent("authentication-missing")
    words = base64.b64encode(f"\0{user}\0{password}".encode()).decode("ascii")
    code, said = server.docmd("AUTH", f"PLAIN {words}")
    if code != _LOGGED_IN:
        raise smtplib.SMTPAuthenticationError(code, said)


@contextmanager
def _telling_why() -> Iterator[None]:
    """What smtplib raises, as ours. What is wrong with us (5xx to our password) may be mended; with the mail, not."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        [(code, _)] = error.recipients.values()
        raise NotSent(f"recipient-{code}", is_final=code >= 500) from None
    except smtplib.SMTPDataError as error:
        raise NotSent(f"data-{error.smtp_code}", is_final=error.smtp_code >= 500) from None
    except smtplib.SMTPAuthenticationError as error:
        raise NotSent(f"authentication-{error.smtp_code}") from None
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"answer-{error.smtp_code}") from None
    except smtplib.SMTPServerDisconnected:
        raise NotSent("disconnected") from None
    except smtplib.SMTPException:
        raise NotSent("authentication-missing") from None
    except TimeoutError:
        raise NotSent("timeout") from None
    except ssl.SSLError:
        raise NotSent("tls") from None
    except OSError:
        raise NotSent("connect") from None


class FolderTransport:
    """A folder in which each mail becomes a file, for development."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._folder = folder
        self._entropy = entropy

    def send(self, mail: EmailMessage) -> None:
        """See Transport."""
        make_private_folder(self._folder)
        name = str(mail["Message-ID"]).strip("<>").partition("@")[0]
        try:
            write_once(self._folder / f"{name}.eml", mail.as_bytes(), self._entropy)
        except OSError:
            raise NotSent("folder") from None


class ConsoleTransport:
    """The console of a developer, who finds the link there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, mail: EmailMessage) -> None:
        """See Transport."""
        body = mail.get_body(("plain",))
        text = "" if body is None else body.get_content()
        self._stream.write(f"\n--- Mail to {mail['To']}: {mail['Subject']}\n{text}---\n")
        self._stream.flush()


class NoTransport:
    """Where no mail is sent."""

    def send(self, mail: EmailMessage) -> None:
        """See Transport: never."""
        del mail
        raise NotSent("off")
