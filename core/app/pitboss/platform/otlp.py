"""Spans through OpenTelemetry's SDK to a collector, as OTLP over HTTP: bounded in memory, in a thread of its own.

Imported only where an endpoint is set. Nothing of the environment but the collector's own settings
(`OTEL_EXPORTER_OTLP_HEADERS`, certificates, compression) decides what is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes

from pitboss.kernel.clock import epoch_microseconds
from pitboss.platform.fields import Value
from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import SpanName, TraceLink

TRACES_PATH: Final = "/v1/traces"
MAX_WAITING: Final = 2048
"""Spans that may wait to be sent; the next ones are dropped and counted."""
BATCH_SIZE: Final = 256
SEND_EVERY_MS: Final = 2_000
SEND_TIMEOUT_SECONDS: Final = 5
CLOSE_SECONDS: Final = 2
"""How long the last spans may take to be sent when a process ends."""

_KINDS: Final[Mapping[SpanName, SpanKind]] = {
    SpanName.HTTP_REQUEST: SpanKind.SERVER,
    SpanName.WALLET_CALL: SpanKind.SERVER,
    SpanName.TENANT_COMMAND: SpanKind.INTERNAL,
    SpanName.CELL_CALL: SpanKind.CLIENT,
    SpanName.CELL_ANSWER: SpanKind.SERVER,
    SpanName.JOB_SEND: SpanKind.PRODUCER,
    SpanName.JOB_RUN: SpanKind.CONSUMER,
    SpanName.PLUGIN_CALL: SpanKind.CLIENT,
}
_CONVENTIONS: Final[Mapping[str, str]] = {
    "error_type": "error.type",
    "method": "http.request.method",
    "path_template": "http.route",
    "status": "http.response.status_code",
}
"""Fields that OpenTelemetry has a name for; all others go under `pitboss.`."""


class OtlpRecorder:
    """The recorder of one process."""

    def __init__(self, settings: Settings, process: str, metrics: Metrics) -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy, no .netrc: spans go to the collector or nowhere
        sender = OTLPSpanExporter(
            endpoint=str(settings.otlp_endpoint).rstrip("/") + TRACES_PATH,
            timeout=SEND_TIMEOUT_SECONDS,
            session=session,
        )
        self._metrics = metrics
        self._sender = _Sender(sender, metrics)
        facts = {"service.name": f"pitboss-{process}", "service.namespace": "pitboss"}
        if process not in {"control", "command"}:
            facts |= {"pitboss.cell": settings.cell, "pitboss.locality": settings.locality}
        self._provider = TracerProvider(
            sampler=_ByName(settings.trace_one_in),
            resource=Resource(facts),  # not `create`, which looks for facts in the environment
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attributes=32, max_events=0, max_links=0, max_attribute_length=300),
        )
        self._provider.add_span_processor(_Bounded(self._sender, metrics))
        self._tracer = self._provider.get_tracer("pitboss")

    def begin(self, name: SpanName, parent: TraceLink | None, seconds_ago: float) -> _Recorded:
        """Begin a span, now or a while ago."""
        context = Context() if parent is None else set_span_in_context(NonRecordingSpan(_read(parent)), Context())
        began = (epoch_microseconds() - int(seconds_ago * 1e6)) * 1000
        return _Recorded(self._tracer.start_span(name.value, context, _KINDS[name], start_time=began))

    def count_dropped(self, fields: int) -> None:
        """Count fields that the allow-list held back."""
        self._metrics.trace_fields_dropped.inc(fields)

    def close(self) -> None:
        """Send what waits, as far as the collector takes it in time."""
        hurry = threading.Timer(CLOSE_SECONDS, self._sender.shutdown)
        hurry.daemon = True
        hurry.start()
        self._provider.shutdown()
        hurry.cancel()


class _Recorded:
    def __init__(self, span: Span) -> None:
        self._span = span
        at = span.get_span_context()
        self.link = TraceLink(f"{at.trace_id:032x}", f"{at.span_id:016x}", at.trace_flags.sampled)

    def tell(self, fields: Mapping[str, Value]) -> None:
        for name, value in fields.items():
            if value is not None:
                self._span.set_attribute(_CONVENTIONS.get(name, f"pitboss.{name}"), value)

    def fail(self) -> None:
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


def _read(link: TraceLink) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if link.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(int(link.trace_id, 16), int(link.span_id, 16), is_remote=True, trace_flags=flags)


class _ByName(Sampler):
    """One in so many traces; wallet calls are chosen before they become spans."""

    def __init__(self, one_in: int) -> None:
        self._others = ParentBased(TraceIdRatioBased(1 / one_in))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        chosen = ALWAYS_ON if name == SpanName.WALLET_CALL.value else self._others
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return "PitbossByName"


class _Sender(SpanExporter):
    """The exporter, counted."""

    def __init__(self, sender: OTLPSpanExporter, metrics: Metrics) -> None:
        self._sender = sender
        self._spans = metrics.trace_spans
        self._lock = threading.Lock()
        self._is_shut = False
        self.waiting = 0

    def admit(self) -> bool:
        """Take a place for one span; False when none is free."""
        with self._lock:
            if self.waiting >= MAX_WAITING:
                return False
            self.waiting += 1
        return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            self.waiting -= len(spans)
        result = self._sender.export(spans)
        self._spans.labels("sent" if result is SpanExportResult.SUCCESS else "failed").inc(len(spans))
        return result

    def shutdown(self) -> None:
        with self._lock:
            if self._is_shut:
                return
            self._is_shut = True
        self._sender.shutdown()


class _Bounded(BatchSpanProcessor):
    """The batch processor, which lets old spans fall out of its queue unseen: here the new ones are refused, and counted."""

    def __init__(self, sender: _Sender, metrics: Metrics) -> None:
        super().__init__(
            sender,
            max_queue_size=MAX_WAITING,
            schedule_delay_millis=SEND_EVERY_MS,
            max_export_batch_size=BATCH_SIZE,
        )
        self._sender = sender
        self._crowded = metrics.trace_spans.labels("crowded")

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        if self._sender.admit():
            super().on_end(span)
        else:
            self._crowded.inc()
