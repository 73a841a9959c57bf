"""`/language`: in which language pages are, and mails to who is signed in. Each page has a form for it at its end."""

from typing import Annotated

from pydantic import Field

from payymo.errors import FieldError, InvalidInput
from payymo.languages import Wish, list_codes
from payymo.phrases import Phrase
from payymo.users.languages import Languages
from payymo.web.console.entry import Next, NextQuery, within
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input


class LanguageForm(Input):
    """The language, and where to go on."""

    language: Annotated[str, Field(max_length=16)]
    next: Next = ""
    tenant: Annotated[str, Field(max_length=63)] = ""


class LanguageDesk:
    """Takes down what somebody would rather read."""

    def __init__(self, *, languages: Languages) -> None:
        self._languages = languages

    @page("GET", "/language", access="anyone")
    def show(self, visit: Visit, query: NextQuery) -> Answer:
        """Show which there are."""
        return Sheet("language.html", {"next": within(query.next)})

    @page("POST", "/language", access="anyone", is_for_actors=True, refused="show")
    def set(self, visit: Visit, form: LanguageForm) -> Answer:
        """Remember it in this browser; and for mails to who is signed in, unless somebody else acts as them."""
        if form.language not in list_codes():
            raise InvalidInput([FieldError("/language", Phrase("there are no pages in this language"))])
        if visit.visitor is not None and visit.actor is None:
            self._languages.keep(visit.user, Wish(form.language, is_chosen=True))
        visit.after.append(lambda response: visit.cookies.keep_language(response, form.language))
        return Onward(within(form.next))
