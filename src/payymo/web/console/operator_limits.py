"""`/operator/limits`: how rate limits are used, and who has limits of their own. They are set at the command line."""

from typing import Annotated, Final

from pydantic import Field

from payymo.limits.model import Report, report
from payymo.limits.overrides import Overrides
from payymo.limits.usage import KEEP_DAYS, Usage
from payymo.phrases import Phrase
from payymo.web.console.pages import Answer, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input

_WINDOWS: Final = {
    1: Phrase("{n} a second"),
    60: Phrase("{n} a minute"),
    3600: Phrase("{n} an hour"),
    86_400: Phrase("{n} a day"),
}


class LimitsQuery(Input):
    """How far to look back."""

    days: Annotated[int, Field(ge=1, le=KEEP_DAYS)] = 7


class LimitsDesk:
    """The limits, to be looked at."""

    def __init__(self, *, usage: Usage, overrides: Overrides) -> None:
        self._usage = usage
        self._overrides = overrides

    @page("GET", "/operator/limits", permission="platform:read", refused="show_limits")
    def show_limits(self, visit: Visit, query: LimitsQuery) -> Answer:
        """Show how near clients come to each limit."""
        del visit
        found = [report(key, tally) for key, tally in self._usage.read(days=query.days).items()]
        found.sort(key=lambda one: (one.tier, one.scope, one.amount))
        facts = {
            "reports": [(one, limit_text(one)) for one in found],
            "overrides": self._overrides.list_all(),
            "days": query.days,
            "days_at_most": KEEP_DAYS,
        }
        return Sheet("operator_limits.html", facts)


def limit_text(found: Report) -> Phrase:
    """The limit, as people say it."""
    return limit_phrase(found.amount, found.window_seconds)


def limit_phrase(amount: int, seconds: int) -> Phrase:
    """So many in so long."""
    return Phrase(_WINDOWS.get(seconds, Phrase("{n} in {seconds} seconds")), n=amount, seconds=seconds)
