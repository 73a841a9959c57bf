"""The OpenAPI document against the service: whatever a client makes of the document, the answers are as it says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from payymo.web.pacing import HOLD
from payymo.web.routing import Route
from tests.conftest import Copied
from tests.support.house import House
from tests.web.scene import ROUTES, Scene, label, set_scene

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
CASES = [
    pytest.param(route, mode, id=f"{label(route)} {mode.value}")
    for route in ROUTES
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or route.body or route.query or "<" in route.path  # else nothing can be wrong
]
BOUNDED = settings(
    max_examples=12,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def scene(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One service for every example."""
    with copied("sqlite", tmp_path_factory.mktemp("fuzz")) as database:
        house = House(database)
        yield set_scene(house)
        house.close()


@pytest.fixture(scope="module")
def api(scene: Scene) -> BaseSchema:
    """The document, as the service hands it out."""

    def unpaced(environ: dict[str, Any], start_response: Any) -> Any:
        """Nobody waits for an answer that is held."""
        return scene.house.app(environ | {HOLD: lambda _moment: None}, start_response)

    return schemathesis.openapi.from_wsgi("/api/openapi.json", unpaced)


@pytest.mark.parametrize(("route", "mode"), CASES)
def test_answers_are_as_the_document_says(scene: Scene, api: BaseSchema, route: Route, mode: GenerationMode) -> None:
    """Status, content type, shape and headers of every answer are in the document, and none is an error of ours.

    Whoever asks: each request is made by a stranger and by an administrator.
    """
    operation = api[re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)][route.method]
    scene.admin.log_in("root@example.com")  # anew: an example may have logged out
    bearer = {"Authorization": f"Bearer {scene.admin.access_token}"}

    @seed(1)
    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def examine(case: Case) -> None:
        for headers in ({}, bearer):
            case.validate_response(case.call(headers=headers), checks=CHECKS)

    examine()


def test_document_describes_every_route(scene: Scene) -> None:
    """No route is left out of the document, and no operation in it is without a route."""
    paths = scene.admin.get("/api/openapi.json").get_json()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == {(route.method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)) for route in ROUTES}
