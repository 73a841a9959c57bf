"""What a tenant's brand makes of its pages: the name, the logo, and the colours of a stylesheet.

A brand is an ornament. Where it can't be looked up, pages look as the service does; the operator's always do.
"""

from dataclasses import dataclass
from typing import Final

from flask import Response

from payymo.brands.colours import legible, text_on
from payymo.brands.model import Brand
from payymo.brands.png import CONTENT_TYPE
from payymo.brands.service import Brands
from payymo.errors import PayymoError
from payymo.web.console.visit import Visit

LOGOS: Final = "/brand/<string:digest>.png"
OPERATOR: Final = "/operator"
LIGHT: Final = ("#ffffff", "#f5f7f7", "#e2f3e8", "#fdeceb")
DARK: Final = ("#0f1516", "#171f21", "#12301f", "#3a1715")
"""What the accent has to be read on, as console.css has it."""
_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@dataclass(frozen=True, slots=True)
class Colours:
    """`fill`: the accent as it was chosen, `text`: on it. `on_light`, `on_dark`: the accent as text and as lines."""

    fill: str
    text: str
    on_light: str
    on_dark: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a page shows of a brand. `logo`: its address."""

    name: str
    logo: str | None
    colours: Colours | None


def colours_of(accent: str) -> Colours:
    """The colours that one is made into, so that whatever is written in them can be read."""
    return Colours(accent, text_on(accent), legible(accent, LIGHT), legible(accent, DARK))


def look_of(brand: Brand, slug: str) -> Look:
    """The brand of a tenant, on its pages."""
    logo = None if brand.logo is None else f"/brand/{brand.logo}.png?tenant={slug}"
    return Look(brand.name, logo, None if brand.accent is None else colours_of(brand.accent))


class Branding:
    """Finds the brand of a page."""

    def __init__(self, brands: Brands) -> None:
        self._brands = brands

    def find(self, visit: Visit, *, status: int) -> Look | None:
        """The brand of a page; None: it has none. A page that tells of a failure of ours asks the database nothing."""
        path, place = visit.caller.request.path, visit.place
        if place is None or status >= 500 or path == OPERATOR or path.startswith(f"{OPERATOR}/"):
            return None
        try:
            brand = self._brands.look_up(visit.tenant_id)
        except PayymoError:
            return None
        return None if brand is None else look_of(brand, place[0])


def logo_response(data: bytes) -> Response:
    """A logo. It is kept for ever: another one has another address."""
    return Response(data, content_type=CONTENT_TYPE, headers=_HEADERS)
