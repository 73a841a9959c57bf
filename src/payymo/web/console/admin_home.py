"""`/admin`: leads to the first part of the administration that one may see."""

from collections.abc import Sequence

from payymo.errors import InsufficientScope
from payymo.web.console.pages import Answer, Onward, page
from payymo.web.console.visit import Visit


class AdminHomeDesk:
    """The door of the administration. `places`: paths, and the permission that opens each."""

    def __init__(self, places: Sequence[tuple[str, str]]) -> None:
        self._places = places

    @page("GET", "/admin")
    def home(self, visit: Visit) -> Answer:
        """Go on to what one may see."""
        for path, permission in self._places:
            if visit.may(permission):
                return Onward(path)
        raise InsufficientScope
