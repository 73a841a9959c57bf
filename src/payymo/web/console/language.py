"""In which language a page is: as somebody has chosen in this browser, else as their browser asks for."""

from typing import Final

from flask import Request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from payymo.languages import Language, first_known, language_of

_ACCEPTED: Final = 256
"""Characters of Accept-Language that are looked at: nobody reads so many languages."""


def choose(request: Request, chosen: str | None) -> Language:
    """The language that was chosen, else the first that the browser asks for, of any country, else English."""
    return language_of(chosen, asked_for(request))


def asked_for(request: Request) -> str | None:
    """The code of the first language that the browser asks for and that there is; None: there is none of them."""
    header = request.headers.get("Accept-Language", "")[:_ACCEPTED]
    return first_known(tag for tag, quality in parse_accept_header(header, LanguageAccept) if quality > 0)
