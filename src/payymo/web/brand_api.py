"""`/api/admin/brand`: what one's own tenant is called and looks like."""

from typing import Annotated

from pydantic import Field

from payymo.brands.model import Brand
from payymo.brands.png import CONTENT_TYPE
from payymo.brands.service import Brands
from payymo.errors import NotFound
from payymo.web.caller import Caller
from payymo.web.models import LanguageCode
from payymo.web.routing import Input, Nothing, Output, route


class BrandBody(Input):
    """A display name; a colour as `#rrggbb`, without one the service's; the language of letters, else English.

    In it are letters to those whose own is not known.
    """

    name: Annotated[str, Field(min_length=1, max_length=240)]
    accent: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None
    language: LanguageCode | None = None


class BrandOut(Output):
    """What the tenant looks like. `logo`: the SHA-256 of its logo."""

    name: str
    accent: str | None
    logo: str | None
    language: str | None

    @classmethod
    def of(cls, brand: Brand) -> "BrandOut":
        """The brand."""
        return cls(name=brand.name, accent=brand.accent, logo=brand.logo, language=brand.language)


class BrandApi:
    """The brand of one's own tenant."""

    def __init__(self, *, brands: Brands) -> None:
        self._brands = brands

    @route("GET", "/api/admin/brand", limit="default", authentication="bearer", permission="policies:read")
    def get_brand(self, caller: Caller) -> BrandOut:
        """Show what the tenant looks like. There is none of a tenant that looks as the service does."""
        found = self._brands.get(caller.principal.tenant_id)
        if found is None:
            raise NotFound("This tenant has no brand of its own.")
        return BrandOut.of(found)

    @route("PUT", "/api/admin/brand", limit="default", authentication="bearer", permission="policies:write")
    def set_brand(self, caller: Caller, body: BrandBody) -> BrandOut:
        """Set the display name, the colour and the language of letters. The logo stays."""
        tenant_id, by = caller.principal.tenant_id, caller.actor
        brand = self._brands.set(tenant_id, body.name, body.accent, language=body.language, by=by, trace=caller.trace)
        return BrandOut.of(brand)

    @route("DELETE", "/api/admin/brand", limit="default", authentication="bearer", permission="policies:write")
    def remove_brand(self, caller: Caller) -> Nothing:
        """Let the tenant look as the service does."""
        self._brands.remove(caller.principal.tenant_id, by=caller.actor, trace=caller.trace)
        return Nothing()

    @route(
        "PUT",
        "/api/admin/brand/logo",
        limit="default",
        authentication="bearer",
        permission="policies:write",
        media=CONTENT_TYPE,
    )
    def set_logo(self, caller: Caller, octets: bytes) -> BrandOut:
        """Set the logo: a PNG of up to 64 KiB and 1024 × 1024 pixels, not interlaced."""
        tenant_id, by = caller.principal.tenant_id, caller.actor
        return BrandOut.of(self._brands.set_logo(tenant_id, octets, by=by, trace=caller.trace))

    @route("DELETE", "/api/admin/brand/logo", limit="default", authentication="bearer", permission="policies:write")
    def remove_logo(self, caller: Caller) -> BrandOut:
        """Have no logo any more."""
        tenant_id, by = caller.principal.tenant_id, caller.actor
        return BrandOut.of(self._brands.set_logo(tenant_id, None, by=by, trace=caller.trace))
