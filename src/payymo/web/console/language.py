"""In which language a page is: as somebody has chosen in this browser, else as their browser asks for."""

from typing import Final

from flask import Request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from payymo.languages import Wish, first_known, list_codes

_ACCEPTED: Final = 256
"""Characters of Accept-Language that are looked at: nobody reads so many languages."""


def wish_of(request: Request, chosen: str | None) -> Wish:
    """The language that was chosen, else the first that the browser asks for and that there is, of any country."""
    if chosen is not None and chosen in list_codes():
        return Wish(chosen, is_chosen=True)
    header = request.headers.get("Accept-Language", "")[:_ACCEPTED]
    return Wish(first_known(tag for tag, quality in parse_accept_header(header, LanguageAccept) if quality > 0))
