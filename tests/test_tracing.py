"""Spans, as a real receiver of OTLP/HTTP gets them: what is in them, whose trace they are in, and what never is."""

import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from payymo.cli import payymo
from payymo.config import read_settings
from payymo.errors import Misconfigured
from payymo.extension import Payymo
from payymo.users.passwords import Passwords
from tests.support.house import PASSWORD, Database, House

CANARY = "canary7f3a"
ALLOWED = {
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "payymo.request_id",
    "payymo.tenant_id",
}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Collector:
    """Keeps whatever it is sent."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def spans(self) -> list[Span]:
        """Every span, decoded."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A receiver on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            found.headers.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@contextmanager
def traced(database: Database, collector: Collector, **tracing: Any) -> Iterator[House]:
    """A house whose spans have been sent when the block ends."""
    given = {"endpoint": collector.url, **tracing}
    with closing(House(database, passwords=Passwords(), tracing=given)) as house:
        yield house
        house.app.extensions["payymo-tracing"].close()


def attributes(span: Span) -> dict[str, Any]:
    return {found.key: getattr(found.value, found.value.WhichOneof("value")) for found in span.attributes}


def test_a_request_is_a_span_named_by_its_route_with_what_took_time_in_it(
    database: Database, collector: Collector
) -> None:
    """Method, status, request id, tenant; and transactions and hashes as its children."""
    with traced(database, collector, headers={"x-key": "opens"}) as house:
        house.user("alice")
        answer = house.client().log_in()
    spans = {span.name: span for span in collector.spans()}
    assert spans.keys() == {"POST /api/auth/login", "transaction", "password hash"}
    root = spans["POST /api/auth/login"]
    assert attributes(root) == {
        "http.request.method": "POST",
        "http.route": "/api/auth/login",
        "http.response.status_code": 200,
        "payymo.request_id": answer.headers["X-Request-ID"],
        "payymo.tenant_id": str(house.default.id),
    }
    assert all(span.parent_span_id == root.span_id for span in collector.spans() if span.span_id != root.span_id)
    assert collector.headers[0]["x-key"] == "opens"


def test_nothing_that_a_request_holds_is_in_a_span(sqlite_database: Database, collector: Collector) -> None:
    """Invariant 17: token, query, path, body, e-mail, password, header, cookie, tracestate, text of an exception."""
    with traced(sqlite_database, collector, accept_from=("127.0.0.0/8",)) as house:
        house.user("alice")
        client = house.logged_in()
        held = {CANARY, PASSWORD, "alice", str(client.access_token), str(client.refresh_token)}
        headers = {
            "X-Canary": CANARY,
            "Cookie": f"a={CANARY}",
            "User-Agent": CANARY,
            "Referer": f"https://x/{CANARY}",
            "X-Tenant": CANARY,
            "traceparent": PARENT,
            "tracestate": f"{CANARY}={CANARY}",
            "baggage": f"{CANARY}={CANARY}",
        }
        for path in (f"/api/auth/me?q={CANARY}", f"/{CANARY}", f"/api/admin/users/{CANARY}", "/health/ready"):
            for method in ("GET", "POST", CANARY.upper()):
                client.call(method, path, {"email": f"{CANARY}@example.com", "password": CANARY}, headers=headers)
        client.log_in(f"{CANARY}@example.com", CANARY)
        client.refresh(CANARY)
        owner = house.database.owner()
        with owner.begin() as connection:
            connection.execute(sa.text("DROP TABLE users"))
        owner.dispose()
        failed = client.log_in(f"{CANARY}@example.com", CANARY)
    assert failed.status_code == 503
    spans = collector.spans()
    assert len([span for span in spans if span.kind == Span.SPAN_KIND_SERVER]) == 16
    for body in collector.bodies:
        assert [secret for secret in held if secret.lower().encode() in body.lower()] == []
    for span in spans:
        assert attributes(span).keys() <= ALLOWED
        assert [*span.events, *span.links, span.trace_state, span.status.message] == ["", ""]


@pytest.mark.parametrize(
    ("accept_from", "given", "parent"),
    [
        (("127.0.0.0/8",), PARENT, PARENT[3:35]),
        (("127.0.0.0/8",), "nonsense", None),
        (("10.0.0.0/8",), PARENT, None),
        ((), PARENT, None),
    ],
)
def test_a_trace_is_taken_over_only_from_where_that_is_configured(
    sqlite_database: Database, collector: Collector, accept_from: tuple[str, ...], given: str, parent: str | None
) -> None:
    """Strangers neither write into traces of others, nor choose what is sampled; no answer tells of one."""
    with traced(sqlite_database, collector, accept_from=accept_from) as house:
        for flags in ("01", "00"):
            answer = house.client(headers={"traceparent": given[:-2] + flags}).get("/health/live")
            assert not {"traceparent", "tracestate", "traceresponse"} & {name.lower() for name in dict(answer.headers)}
    spans = collector.spans()
    assert len(spans) == (1 if parent else 2)  # who is believed may also say: not this one
    assert (spans[0].trace_id.hex() == PARENT[3:35]) == (parent is not None)
    assert (spans[0].parent_span_id.hex() == PARENT[36:52]) == (parent is not None)


def test_a_collector_that_is_away_is_no_reason_to_refuse_anybody(sqlite_database: Database) -> None:
    """Spans are dropped."""
    with traced(sqlite_database, Collector("http://127.0.0.1:1/v1/traces")) as house:
        assert house.client().get("/health/ready").status_code == 200


def test_without_the_extra_nothing_starts_and_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made; without an endpoint nobody asks for the libraries."""
    monkeypatch.delitem(sys.modules, "payymo.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    data = tmp_path / "data"
    given = {"PAYYMO_DATA": str(data), "PAYYMO_TRACING__ENDPOINT": "http://127.0.0.1:1/v1/traces"}
    done = CliRunner().invoke(payymo, ["serve"], env=given)
    assert done.exit_code == 1
    assert "PAYYMO_TRACING__ENDPOINT: opentelemetry" in done.stderr
    assert "pip install 'payymo[otel]'" in done.stderr
    assert not data.exists()


def test_what_would_trace_nothing_is_refused(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings without an endpoint; an endpoint where the application of somebody else would have to trace."""
    monkeypatch.setenv("PAYYMO_TRACING__SERVICE_NAME", "x")
    with pytest.raises(Misconfigured, match="PAYYMO_TRACING: endpoint has to be set"):
        read_settings()
    with closing(House(sqlite_database, tracing={"endpoint": "http://127.0.0.1:1/v1/traces"})) as house:
        mounting = Payymo(services=house.services)
        with pytest.raises(Misconfigured, match="the application traces"):
            mounting.init_app(None)  # type: ignore[arg-type]
