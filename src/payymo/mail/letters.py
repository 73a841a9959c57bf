"""What letters look like: one text per kind, in its reader's language, in a plain form and in HTML.

A template's first line is the subject, its paragraphs are the text. HTML is made from the same text, escaped, so that
the two can't differ and no fact can bring markup along. A fact is one line without control characters, whatever a
stranger has put into it, so that none can become a header or a paragraph of its own.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import formatdate, quote
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.ext import InternationalizationExtension

from payymo.mail.model import Sender
from payymo.wording import Language, duration, moment, one, one_or_many, speaking

LINE: Final = 78
"""Characters of a line that a header should not exceed (RFC 5322 §2.1.1)."""
WORD: Final = 75
"""And of an encoded word, which must not (RFC 2047 §2)."""
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""What needs no quotes (RFC 5322 §3.2.3)."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject, and the paragraphs under it. `language`: its code."""

    subject: str
    paragraphs: tuple[str, ...]
    language: str


class Letters:
    """Renders messages."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("payymo.mail"),
            undefined=StrictUndefined,
            autoescape=select_autoescape(["html"]),
            extensions=[InternationalizationExtension],
        )
        self._templates.install_gettext_callables(one, one_or_many, newstyle=True)  # type: ignore[attr-defined]
        self._templates.filters.update(
            duration=lambda fact: duration(int(fact)),
            moment=lambda fact: moment(int(fact)),
        )

    def write(self, kind: str, facts: Mapping[str, str], *, name: str, language: Language) -> Letter:
        """The letter. `name`: of whoever sends it, as its reader knows them."""
        clean = {key: _one_line(value) for key, value in facts.items()}
        with speaking(language):
            text = self._templates.get_template(f"{kind}.txt").render(clean, name=_one_line(name))
        subject, *paragraphs = (" ".join(part.split()) for part in text.strip().split("\n\n"))
        return Letter(subject, tuple(part for part in paragraphs if part), language.code)

    def render(
        self,
        letter: Letter,
        *,
        mail_id: uuid.UUID,
        to: str,
        sender: Sender,
        accent: str | None = None,
        created_at: int,
    ) -> EmailMessage:
        """The mail (RFC 5322). The same message gives the same mail, byte for byte, however often it is sent.

        `accent`: the colour of a line above the text. Nothing has to be read in it.
        Raises ValueError: an address or the subject can't stand in a header.
        """
        mail = EmailMessage(policy=_POLICY)
        mail["From"] = Address(_plain(sender.name), addr_spec=sender.address)
        mail["To"] = Address(addr_spec=to)
        mail["Subject"] = _plain(letter.subject)
        mail["Date"] = formatdate(created_at)
        mail["Message-ID"] = f"<{mail_id.hex}@{sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office notes, please
        text = "\n\n".join([*letter.paragraphs, f"-- \n{sender.name}"]) + "\n"
        mail.set_content(text, cte="quoted-printable")
        page = self._templates.get_template("layout.html").render(letter=letter, name=sender.name, accent=accent)
        mail.add_alternative(page, subtype="html", cte="quoted-printable")
        mail.set_boundary(f"=_{mail_id.hex}")
        return mail


class _Policy(EmailPolicy):
    """Writes `From` itself: of a name that it breaks into lines, Python drops the quotes (3.11).

    Whoever calls their tenant `ceo@bank.example, …` would have its letters sent in two names, one of them not theirs.
    """

    def fold(self, name: str, value: Any) -> str:
        """A header, in lines."""
        return _write_from(value.addresses[0]) if name == "From" else super().fold(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        """The same in octets."""
        return self.fold(name, value).encode("ascii")  # whatever else there is, is in encoded words


_POLICY: Final = _Policy(linesep="\r\n")


def _write_from(sender: Address) -> str:
    name = sender.display_name
    if not name.isascii():
        name = Header(name, "utf-8", maxlinelen=WORD, header_name="From").encode(linesep="\r\n")
    elif _ATOMS.fullmatch(name) is None:
        name = f'"{quote(name)}"'
    line = f"From: {name} <{sender.addr_spec}>"
    return f"{line}\r\n" if len(line) <= LINE else f"From: {name}\r\n <{sender.addr_spec}>\r\n"


def _plain(text: str) -> str:
    """The text with nothing in it that would be decoded (RFC 2047 §2): `=?utf-8?q?=0D=0ABcc:…?=` is one printable line.

    Python decodes encoded words when a header is set, and writes down whatever was in them, line breaks, too.
    """
    return text.replace("=?", "= ?")


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
