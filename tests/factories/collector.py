"""A collector of traces for tests: takes what the exporter posts, and reads it as OTLP says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import open_tracing


@dataclass(frozen=True)
class SeenSpan:
    """A span as it came, with whose it is."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    facts: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    message: str
    events: int
    seconds: float


@dataclass
class Collector:
    """What came so far; `status` is what it answers with."""

    port: int = 0
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def spans(self) -> list[SeenSpan]:
        """Return every span of what was taken."""
        return [span for body in list(self.bodies) for span in _read(body)]

    def named(self, name: str) -> list[SeenSpan]:
        return [span for span in self.spans() if span.name == name]


def _read(body: bytes) -> Iterator[SeenSpan]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {each.key: _value(each.value) for each in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield SeenSpan(
                    service=str(resource.get("service.name")),
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    facts={each.key: _value(each.value) for each in span.attributes},
                    resource=resource,
                    failed=span.status.code == 2,
                    message=span.status.message,
                    events=len(span.events) + len(span.links),
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


@contextmanager
def run_collector() -> Iterator[Collector]:
    """Serve on a free port while the block runs."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.paths.append(self.path)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            if collector.status == 200:
                collector.bodies.append(body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def tracing(process: str = "web", **more: Any) -> Iterator[tuple[Collector, Metrics]]:
    """Trace to a collector of this test; what was recorded is there when the block ends."""
    metrics = Metrics()
    with run_collector() as collector:
        settings = Settings(otlp_endpoint=collector.endpoint, **{"trace_one_in": 1, "trace_wallet_one_in": 1, **more})
        with open_tracing(settings, process, metrics):
            yield collector, metrics
