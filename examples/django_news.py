"""A Django site in one file: news that the members of a tenant read, and its editors write.

It needs `.venv/bin/pip install -e './guard[django]'`. Run it beside the service (`make serve`):
`.venv/bin/python examples/django_news.py runserver 8000`.
"""

import json
import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="unused: there are no sessions here",  # noqa: S106
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "payymo_guard.django.GuardMiddleware"],
    PAYYMO_GUARD={
        "issuer": os.environ.get("PAYYMO_ISSUER", "http://127.0.0.1:5000"),
        "audience": os.environ.get("PAYYMO_AUDIENCE", "payymo-api"),
        "credential": os.environ.get("PAYYMO_CREDENTIAL"),
    },
)

from payymo_guard.django import claims, public, require  # noqa: E402 - settings come first

news: dict[str, list[str]] = {}


@public
def index(_: HttpRequest) -> HttpResponse:
    """Open to everybody."""
    return HttpResponse("The news. Log in at the service, and bring the access token.")


def me(request: HttpRequest) -> JsonResponse:
    """Nothing said: the middleware wants a valid token, and any will do."""
    return JsonResponse({"user": claims(request).sub, "tenant": claims(request).tenant_id})


class News(View):
    """The news of the caller's own tenant."""

    @method_decorator(require("news:read"))
    def get(self, request: HttpRequest) -> JsonResponse:
        """All of it."""
        return JsonResponse(news.get(claims(request).tenant_id, []), safe=False)

    @method_decorator(require("news:write"))
    def post(self, request: HttpRequest) -> JsonResponse:
        """Add some."""
        own = news.setdefault(claims(request).tenant_id, [])
        own.append(json.loads(request.body)["title"])
        return JsonResponse(own, safe=False, status=201)


@require("news:read", tenant="tenant_id")
async def news_of(_: HttpRequest, tenant_id: str) -> JsonResponse:
    """The same, where the path names the tenant: tokens of another one are refused."""
    return JsonResponse(news.get(tenant_id, []), safe=False)


urlpatterns = [path("", index), path("me", me), path("news", News.as_view()), path("t/<tenant_id>/news", news_of)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
else:
    application = get_wsgi_application()
