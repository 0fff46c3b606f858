"""What a process tells about itself: structured logs through an allow-list of fields, and its metrics.

A log line is an event name and allowed fields. Free text, unknown fields, messages of exceptions and values
that are no plain scalar are dropped and counted: they are where personal data and secrets would leak.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from itertools import accumulate
from typing import Any, Final, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pitboss.kernel.clock import monotonic_seconds
from pitboss.platform.fields import EVENT_NAME, describe_exception, keep_allowed
from pitboss.platform.traces import current_link

METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

READINESS_TIMEOUT_SECONDS: Final = 2
_FRAMEWORK_KEYS = frozenset({"event", "exc_info", "_record", "_from_structlog", "stack_info", "positional_args"})
_SEVERITIES = {"debug": 10, "info": 20, "warning": 30, "error": 40}

WALLET_LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
HTTP_LATENCY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

WalletWatch = Callable[[str, str, str, float], None]
"""Is told tenant, plugin, outcome and seconds of a wallet call when it is answered."""


def name_method(method: str) -> str:
    """Return an HTTP method that the standard knows, else `other`: callers may send any word."""
    return method if method in _METHODS else "other"


class WalletCalls(Collector):
    """Wallet calls by what became of them and how long they took; noting one costs two look-ups and no lock.

    A process notes them on its one event loop; readers on other threads see a moment of it.
    """

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], int] = {}
        self._seconds: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def note(self, tenant: str, plugin: str, outcome: str, seconds: float) -> None:
        """Count one call."""
        key = (tenant, plugin, outcome)
        self.counts[key] = self.counts.get(key, 0) + 1
        found = self._seconds.get((tenant, plugin))
        if found is None:
            found = self._seconds[tenant, plugin] = ([0] * (len(WALLET_LATENCY_BUCKETS) + 1), [0.0])
        found[0][bisect_left(WALLET_LATENCY_BUCKETS, seconds)] += 1
        found[1][0] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield both families as they stand."""
        calls = CounterMetricFamily(
            "pitboss_wallet_calls_total",
            "Wallet calls of game providers by what became of them.",
            labels=["tenant", "plugin", "outcome"],
        )
        for key, count in list(self.counts.items()):
            calls.add_metric(key, count)
        yield calls
        took = HistogramMetricFamily(
            "pitboss_wallet_call_seconds",
            "Time from the first byte of a wallet call to its answer.",
            labels=["tenant", "plugin"],
        )
        bounds = [*map(str, WALLET_LATENCY_BUCKETS), "+Inf"]
        for names, (counts, total) in list(self._seconds.items()):
            took.add_metric(names, list(zip(bounds, accumulate(counts), strict=True)), total[0])
        yield took


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # a time series of start times beside each counter is of no use here
        registry = self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        self._preparations: list[Callable[[], None]] = []
        self._wallet_calls = WalletCalls()
        self.record_wallet_call: WalletWatch = self._wallet_calls.note
        """Counts one wallet call; names are those of our own registry, never of the caller's choosing."""
        registry.register(self._wallet_calls)
        self._add_requests(registry)
        self._add_books_and_planes(registry)
        self._add_quality(registry)
        self._add_lanes_and_jobs(registry)
        self._add_backups(registry)
        self._add_evidence(registry)
        self._add_plugins(registry)
        self._add_telemetry(registry)

    def _add_requests(self, registry: CollectorRegistry) -> None:
        self._http_requests = Counter(
            "pitboss_http_requests_total",
            "HTTP requests besides wallet calls.",
            ["method", "path_template", "status"],
            registry=registry,
        )
        self._http_seconds = Histogram(
            "pitboss_http_request_seconds",
            "Time to answer an HTTP request.",
            ["path_template"],
            buckets=HTTP_LATENCY_BUCKETS,
            registry=registry,
        )
        self._http_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def _add_books_and_planes(self, registry: CollectorRegistry) -> None:
        self.ledger_findings = Gauge(
            "pitboss_ledger_findings",
            "What the last verification of a tenant's ledger found wrong; anything but 0 is an alarm.",
            ["tenant"],
            registry=registry,
        )
        self.ledger_verified_at = Gauge(
            "pitboss_ledger_verified_at_seconds",
            "When the last verification of a tenant's ledger that came to its end began, in seconds since 1970.",
            ["tenant"],
            registry=registry,
        )
        self.capture_findings = Gauge(
            "pitboss_capture_findings",
            "Changes without an audit event and events without a change that nobody has looked into.",
            ["tenant"],
            registry=registry,
        )
        self.capture_reconciled_at = Gauge(
            "pitboss_capture_reconciled_at_seconds",
            "When a tenant's audit events were last held against its tables, in seconds since 1970.",
            ["tenant"],
            registry=registry,
        )
        self.subject_cases_overdue = Gauge(
            "pitboss_subject_cases_overdue",
            "Requests of data subjects whose day has passed without an answer; anything but 0 is a breach.",
            ["tenant"],
            registry=registry,
        )
        self.rounds_unsealed_seconds = Gauge(
            "pitboss_rounds_unsealed_seconds",
            "How long ago everything that was booked until then was known to be sealed and stored; 0 elsewhere.",
            registry=registry,
        )
        self.dependency_up = Gauge(
            "pitboss_dependency_up",
            "1 while a process of a cell has what it works with, 0 while it does not.",
            ["dependency"],
            registry=registry,
        )
        self.directory_version = Gauge(
            "pitboss_directory_version",
            "Version of the tenant directory that a process serves from.",
            registry=registry,
        )
        self.directory_age_seconds = Gauge(
            "pitboss_directory_age_seconds",
            "Time since a process last saw in its cell's database that its directory is the newest.",
            registry=registry,
        )
        self.cell_confirmed_at = Gauge(
            "pitboss_cell_confirmed_at_seconds",
            "When a cell last confirmed its directory to control, or control began to wait for that, in seconds since 1970.",
            ["place"],
            registry=registry,
        )

    def _add_quality(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str, *more: str) -> Gauge:
            return Gauge(f"pitboss_quality_{name}", meaning, ["tenant", *more], registry=registry)

        self.quality_state = gauge(
            "state",
            "The worst of the last 24 measured hours: -1 nothing to measure, 0 green, 1 amber, 2 red.",
            "area",
            "dimension",
        )
        self.quality_findings = gauge("findings_open", "Records that are wrong and of which nothing has mended it yet.")
        self.quality_measured_at = gauge(
            "measured_at_seconds", "When an hour was last measured, in seconds since 1970."
        )

    def _add_lanes_and_jobs(self, registry: CollectorRegistry) -> None:
        self.lane_oldest_seconds = Gauge(
            "pitboss_lane_oldest_seconds", "How long the oldest wallet call waits for its lane.", registry=registry
        )
        self.lane_batch_calls = Histogram(
            "pitboss_lane_batch_calls",
            "Wallet calls that one database transaction of a lane carried.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.outbox_open_jobs = Gauge(
            "pitboss_outbox_open_jobs", "Jobs of the outbox that are due and not done.", registry=registry
        )
        self.outbox_oldest_seconds = Gauge(
            "pitboss_outbox_oldest_seconds", "Age of the oldest due job.", registry=registry
        )
        # Not `job`: Prometheus gives every target a label of that name.
        self.outbox_sent = Counter(
            "pitboss_outbox_sent_total", "Jobs handed to the broker.", ["job_name"], registry=registry
        )
        self.jobs = Counter(
            "pitboss_jobs_total", "Jobs by what became of them.", ["job_name", "outcome"], registry=registry
        )

    def _add_backups(self, registry: CollectorRegistry) -> None:
        self.archive_behind_seconds = Gauge(
            "pitboss_archive_behind_seconds",
            "How long ago the archive of a cell's log last held everything that the server had made durable.",
            registry=registry,
        )
        self.base_backup_at = Gauge(
            "pitboss_base_backup_at_seconds",
            "When the newest whole base backup ended, or its archive began to wait for one, in seconds since 1970; 0 elsewhere.",
            registry=registry,
        )

    def _add_evidence(self, registry: CollectorRegistry) -> None:
        self.audit_unsealed_seconds = Gauge(
            "pitboss_audit_unsealed_seconds",
            "How long the oldest checkpoint of a log waits to be put into write-once storage; 0 where none does.",
            ["tenant"],
            registry=registry,
        )
        self.siem_lag_seconds = Gauge(
            "pitboss_siem_lag_seconds",
            "How long the oldest logged event waits that a destination has not taken; 0 where it has all.",
            ["tenant", "destination"],
            registry=registry,
        )

    def _add_plugins(self, registry: CollectorRegistry) -> None:
        self._plugin_calls = Counter(
            "pitboss_plugin_calls_total",
            "Calls that plugins make to vendors, by outcome; held and crowded ones were never made.",
            ["tenant", "plugin", "operation", "outcome"],
            registry=registry,
        )
        self._plugin_seconds = Histogram(
            "pitboss_plugin_call_seconds",
            "Time of a plugin's call, waiting for a place included.",
            ["plugin", "operation"],
            buckets=HTTP_LATENCY_BUCKETS,
            registry=registry,
        )
        self.webhooks = Counter(
            "pitboss_webhooks_total",
            "Webhooks of vendors by what they were answered: stored, repeated, forged, stale, not_for_us, failed.",
            ["tenant", "plugin", "outcome"],
            registry=registry,
        )
        self.webhook_events = Counter(
            "pitboss_webhook_events_total",
            "Attempts to carry out a stored webhook: done, superseded, stored (it is tried again), parked.",
            ["tenant", "plugin", "outcome"],
            registry=registry,
        )
        self.webhooks_parked = Gauge(
            "pitboss_webhooks_parked",
            "Webhooks that could not be carried out and wait for somebody to look at them.",
            ["tenant", "plugin"],
            registry=registry,
        )
        self.plugin_health = Gauge(
            "pitboss_plugin_health",
            "0 healthy, 1 degraded (the vendor fails), 2 quarantined (the plugin breaks its contract).",
            ["tenant", "plugin"],
            registry=registry,
        )

    def _add_telemetry(self, registry: CollectorRegistry) -> None:
        self.log_dropped = Counter(
            "pitboss_log_dropped_total", "Parts of log lines that the allow-list held back.", registry=registry
        )
        self.trace_spans = Counter(
            "pitboss_trace_spans_total",
            "Spans by what became of them: sent, failed (the collector did not take them) or crowded (too many waited).",
            ["outcome"],
            registry=registry,
        )
        self.trace_fields_dropped = Counter(
            "pitboss_trace_fields_dropped_total", "Fields of spans that the allow-list held back.", registry=registry
        )

    def watch_wallet_calls(self, watch: WalletWatch) -> None:
        """Tell `watch` of each wallet call too; without one, a call pays nothing for it."""
        note = self._wallet_calls.note

        def note_and_tell(tenant: str, plugin: str, outcome: str, seconds: float) -> None:
            note(tenant, plugin, outcome, seconds)
            watch(tenant, plugin, outcome, seconds)

        self.record_wallet_call = note_and_tell

    def record_request(self, method: str, path_template: str, status: int, seconds: float) -> None:
        """Count one HTTP request under the template of its path; `method` comes from `name_method`."""
        key = (method, path_template, status)
        children = self._http_children.get(key)
        if children is None:
            children = (
                self._http_requests.labels(method, path_template, str(status)),
                self._http_seconds.labels(path_template),
            )
            self._http_children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def record_plugin_call(self, tenant: str, plugin: str, operation: str, outcome: str, seconds: float) -> None:
        """Count one call of a plugin to its vendor."""
        self._plugin_calls.labels(tenant, plugin, operation, outcome).inc()
        self._plugin_seconds.labels(plugin, operation).observe(seconds)

    def count_wallet_calls(self) -> float:
        """Return how many wallet calls this process answered since it started."""
        return sum(self._wallet_calls.counts.values())

    def before_render(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` before each exposition, to take out what has become untrue."""
        self._preparations.append(prepare)

    def render(self) -> bytes:
        """Return the exposition text."""
        for prepare in self._preparations:
            prepare()
        return generate_latest(self.registry)


class CallRate:
    """How many wallet calls a minute, over the last minute, from samples of the counter."""

    WINDOW_SECONDS: Final = 60.0

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._samples: list[tuple[float, float]] = [(monotonic_seconds(), metrics.count_wallet_calls())]

    def sample(self) -> None:
        """Remember the counter as it stands; called every few seconds."""
        now = monotonic_seconds()
        self._samples.append((now, self._metrics.count_wallet_calls()))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self.WINDOW_SECONDS:
            self._samples.pop(0)

    def per_minute(self) -> int:
        """Return calls per minute, as far as the process has lived that long."""
        began, first = self._samples[0]
        elapsed = monotonic_seconds() - began
        if elapsed < 1:
            return 0
        return int((self._metrics.count_wallet_calls() - first) * 60 / elapsed)


def configure_logging(process: str, log_level: str, metrics: Metrics) -> None:
    """Send every log line of the process, those of libraries too, through the allow-list to standard error."""
    guard = FieldGuard(process, metrics)
    shared: list[Any] = [structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.stdlib.add_log_level]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_SEVERITIES[log_level]),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, describe_foreign],
        processors=[guard, structlog.processors.JSONRenderer(sort_keys=True)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_SEVERITIES[log_level])
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    for talkative in ("httpx", "httpcore", "asyncio", "sqlalchemy", "dramatiq"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    # Of a collector that is away a counter tells; a line for every batch would tell no more.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


GRANIAN_LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "propagate": True},
    },
}
"""Leaves the web server without handlers of its own: its lines go where all lines go."""


def describe_foreign(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn a line of a library into the event `library.logged`: who and where, never its text.

    Name and line lead to the text in the library's source; what it was filled with is nobody's to read.
    """
    record = cast("logging.LogRecord", event["_record"])
    event["event"] = "library.logged"
    event["library"] = record.name
    event["place"] = f"{record.module}:{record.lineno}"
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event


class FieldGuard:
    """The last processor before rendering: lets fields through that are on the list, counts the rest."""

    def __init__(self, process: str, metrics: Metrics) -> None:
        self._process = process
        self._dropped = metrics.log_dropped

    def __call__(self, _logger: object, _method: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return what may be written of `event`."""
        fields = {name: value for name, value in event.items() if name not in _FRAMEWORK_KEYS}
        allowed, dropped = keep_allowed(fields)
        kept: dict[str, Any] = {"process": self._process, **allowed}
        text = event.get("event")
        if isinstance(text, str) and EVENT_NAME.match(text):
            kept["event"] = text
        else:
            kept["event"] = "log.text_dropped"
            dropped += 1
        link = current_link()
        if link is not None:
            kept["trace_id"] = link.trace_id
        kept.update(describe_exception(event.get("exc_info")))
        if dropped:
            kept["dropped"] = dropped
            self._dropped.inc(dropped)
        return kept


class Readiness:
    """What must answer before a process takes work; each check returns a problem, or an empty string."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[str]]]) -> None:
        self._checks = dict(checks)

    def add(self, name: str, check: Callable[[], Awaitable[str]]) -> None:
        """Ask for one thing more that only this process has."""
        self._checks[name] = check

    def names(self) -> list[str]:
        """Return what is asked for."""
        return list(self._checks)

    async def list_problems(self) -> dict[str, str]:
        """Return the problems by dependency; a check that takes too long is one."""
        names = list(self._checks)
        found = await asyncio.gather(*(self._run(self._checks[name]) for name in names))
        return {name: problem for name, problem in zip(names, found, strict=True) if problem}

    async def _run(self, check: Callable[[], Awaitable[str]]) -> str:
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
                return await check()
        except TimeoutError:
            return "did not answer in time"
        except Exception as error:  # noqa: BLE001 - whatever a dependency throws, the process is not ready
            return type(error).__name__
