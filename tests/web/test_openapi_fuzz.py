"""The OpenAPI document against the service: whatever a client makes of the document, the answers are as it says."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from payymo.web.openapi import describe
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.house import Client, House
from tests.web.scene import ROUTES, set_scene

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
schema = schemathesis.openapi.from_dict(describe(ROUTES))
bounded = settings(
    max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def house(sqlite_template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One service for every example."""
    data = tmp_path_factory.mktemp("fuzz")
    (data / "payymo.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{data / 'payymo.db'}"
    built = House(Database("sqlite", url, url, data))
    yield built
    built.close()
