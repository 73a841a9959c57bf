"""Sends spans by OTLP/HTTP (OpenTelemetry). Loaded when an endpoint is set: its libraries are an extra, `otel`.

Spans are made here, by hand: what instrumentation packages put into them (targets with query strings, exceptions with
statements, headers) is what must not leave the house.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from payymo import __version__
from payymo.spans import Answered, TracingPolicy

SEND_SECONDS: Final = 5.0
DELAY_MILLISECONDS: Final = 1000
"""How long a span waits for others. What a process has not sent when it is killed is lost."""


class Tracing:
    """The spans of this process. They are sent by a thread of their own; what it can't send in time is dropped."""

    def __init__(self, policy: TracingPolicy) -> None:
        exporter = OTLPSpanExporter(
            endpoint=policy.endpoint,
            headers=dict(policy.headers),
            certificate_file=None if policy.ca_file is None else str(policy.ca_file),
            timeout=SEND_SECONDS,
        )
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(policy.share)),
            # Not Resource.create: that adds what the environment and the command line hold.
            resource=Resource({"service.name": policy.service_name, "service.version": __version__}),
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=DELAY_MILLISECONDS))
        self._tracer = self._provider.get_tracer("payymo", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, traceparent: str | None) -> Callable[[Answered | None], None]:
        """A request begins: see `payymo.spans.Begin`. `tracestate` is left where it came from: it is free text."""
        carrier = {} if traceparent is None else {"traceparent": traceparent}
        parent = self._propagator.extract(carrier, context.Context())
        span = self._tracer.start_span("request", context=parent, kind=SpanKind.SERVER)
        token = context.attach(set_span_in_context(span))

        def end(answered: Answered | None) -> None:
            context.detach(token)
            if answered is None:
                return  # what never ends is never sent
            span.update_name(f"{answered.method} {answered.route}")
            span.set_attribute("http.request.method", answered.method)
            span.set_attribute("http.route", answered.route)
            span.set_attribute("http.response.status_code", answered.status)
            span.set_attribute("payymo.request_id", answered.request_id)
            if answered.tenant_id is not None:
                span.set_attribute("payymo.tenant_id", answered.tenant_id)
            if answered.status >= 500:
                span.set_status(StatusCode.ERROR)
            span.end()

        return end

    def span(self, name: str) -> AbstractContextManager[object]:
        """A part of the present request; nothing outside of one. Exceptions stay out: their texts hold data."""
        if not get_current_span().is_recording():
            return nullcontext()
        return self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)

    def flush(self) -> bool:
        """Send what there is. Whether that was done in time."""
        return self._provider.force_flush()

    def close(self) -> None:
        """Send what there is, and end."""
        self._provider.shutdown()
