"""`/admin`: where the pages for a tenant's administrators begin."""

from payymo.errors import InsufficientScope
from payymo.web.console.areas import ADMINISTRATION
from payymo.web.console.pages import Answer, Onward, page
from payymo.web.console.visit import Visit


class AdminDesk:
    """The way in."""

    @page("GET", "/admin")
    def home(self, visit: Visit) -> Answer:
        """Go to the first page that they may see. Raises InsufficientScope."""
        section = ADMINISTRATION.first_open_to(visit)
        if section is None:
            raise InsufficientScope
        return Onward(section.path)
