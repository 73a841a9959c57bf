"""`/admin/appearance`: what the tenant is called and looks like."""

from typing import Annotated, Final

from pydantic import Field

from payymo.brands.model import NAME_MAX
from payymo.brands.service import Brands
from payymo.web.console.branding import look_of
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.models import LanguageCode
from payymo.web.routing import Input
from payymo.wording import list_languages

APPEARANCE: Final = "/admin/appearance"


class BrandForm(Input):
    """A display name, a colour as `#rrggbb`, and the language of letters."""

    name: Annotated[str, Field(min_length=1, max_length=240)]
    accent: Annotated[str, Field(max_length=7)] | None = None
    language: LanguageCode | None = None


class AppearanceDesk:
    """The brand of one's own tenant."""

    def __init__(self, *, brands: Brands) -> None:
        self._brands = brands

    @page("GET", APPEARANCE, permission="policies:read")
    def show(self, visit: Visit) -> Answer:
        """Show the brand, to be changed, and what it makes of a page."""
        browser, brand = visit.browser, self._brands.get(visit.tenant_id)
        facts = {
            "brand": brand,
            "preview": None if brand is None else look_of(brand, browser.tenant_slug),
            "registered_name": browser.tenant_name[:NAME_MAX].strip(),
            "codes": [(one.code, one.name) for one in list_languages().values()],
            "may_write": visit.may("policies:write"),
        }
        return Sheet("admin_appearance.html", facts)

    @page("POST", APPEARANCE, permission="policies:write", refused="show", upload="logo")
    def save(self, visit: Visit, form: BrandForm, upload: bytes | None) -> Answer:
        """Set name, colour and language, and the logo, if there is a new one."""
        who, trace = visit.caller.actor, visit.caller.trace
        self._brands.set(
            visit.tenant_id, form.name, form.accent, language=form.language, logo=upload, by=who, trace=trace
        )
        return Onward(APPEARANCE, "saved")

    @page("POST", f"{APPEARANCE}/logo/remove", permission="policies:write", refused="show")
    def remove_logo(self, visit: Visit) -> Answer:
        """Have no logo any more."""
        self._brands.set_logo(visit.tenant_id, None, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(APPEARANCE, "logo-removed")

    @page("POST", f"{APPEARANCE}/remove", permission="policies:write", refused="show")
    def remove(self, visit: Visit) -> Answer:
        """Look as the service does."""
        self._brands.remove(visit.tenant_id, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(APPEARANCE, "brand-removed")
