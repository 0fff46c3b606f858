"""Spans hold what the allow-list lets through and nothing else; without an endpoint there is none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from tests.factories.collector import tracing

from pitboss.platform import traces
from pitboss.platform.fields import FIELDS, FieldClass, keep_allowed
from pitboss.platform.otlp import MAX_WAITING, OtlpRecorder
from pitboss.platform.settings import Settings, SettingsInvalid, load_settings
from pitboss.platform.telemetry import FieldGuard, Metrics
from pitboss.platform.traces import (
    NO_SPAN,
    SpanName,
    current_traceparent,
    read_traceparent,
    record_past,
    span,
)
from pitboss_sdk.errors import PitbossError

OURS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANARIES = ("canary.person@example.com", "+35621234567", "canary secret 4711", "1961-07-23", "Key (email)=(x@y)")


def count(metrics: Metrics, line: str) -> float:
    found = [each for each in metrics.render().decode().splitlines() if each.startswith(line)]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_a_span_reaches_the_collector_with_its_fields() -> None:
    with tracing() as (collector, metrics):
        with span(SpanName.HTTP_REQUEST, path_template="/api/v1/players/{player_id:uuid}") as one:
            one.note(status=200, method="GET", tenant="aurora")
        assert collector.spans() == [], "nothing is sent by the one who works"
    (seen,) = collector.spans()
    assert collector.paths == ["/v1/traces"]
    assert (seen.service, seen.name, seen.parent_id) == ("pitboss-web", "http.request", "")
    assert seen.facts == {
        "http.route": "/api/v1/players/{player_id:uuid}",
        "http.response.status_code": 200,
        "http.request.method": "GET",
        "pitboss.tenant": "aurora",
    }
    assert seen.resource == {
        "service.name": "pitboss-web",
        "service.namespace": "pitboss",
        "pitboss.cell": "eu-1",
        "pitboss.locality": "eu",
    }
    assert count(metrics, 'pitboss_trace_spans_total{outcome="sent"}') == 1


def test_what_is_not_on_the_list_is_dropped_and_counted() -> None:
    leaks = {"email": CANARIES[0], "player_id": 7, "tenant": CANARIES[0]}
    with tracing() as (collector, metrics), span(SpanName.JOB_RUN, job="a.b", **leaks) as one:
        one.note(problem=CANARIES[1], outcome=CANARIES[2], path_template="/a?email=x", count=CANARIES[3])
    (seen,) = collector.spans()
    assert seen.facts == {"pitboss.job": "a.b"}
    assert count(metrics, "pitboss_trace_fields_dropped_total") == 7


def test_an_exception_is_told_by_its_class() -> None:
    class Situation(PitbossError):
        code = "test.situation"

    with tracing() as (collector, _):
        for error in (ValueError(CANARIES[4]), Situation(CANARIES[0])):
            with pytest.raises(type(error)), span(SpanName.JOB_RUN):
                raise error
    assert [seen.facts for seen in collector.spans()] == [
        {"error.type": "ValueError"},
        {"error.type": seen_name(Situation), "pitboss.error_code": "test.situation"},
    ]
    assert all(seen.failed and not seen.message and not seen.events for seen in collector.spans())
    assert not any(canary.encode() in body for canary in CANARIES for body in collector.bodies)


def seen_name(kind: type) -> str:
    return kind.__qualname__


def test_children_hang_on_their_parents_and_on_links_of_ours() -> None:
    with tracing() as (collector, _):
        with span(SpanName.HTTP_REQUEST):
            carried = current_traceparent()
            with span(SpanName.PLUGIN_CALL):
                pass
        assert current_traceparent() is None
        with span(SpanName.JOB_RUN, parent=carried):
            pass
        with span(SpanName.JOB_RUN, parent=OURS):
            pass
    child, parent, job, other = collector.spans()
    assert child.parent_id == parent.span_id == job.parent_id
    assert child.trace_id == parent.trace_id == job.trace_id != other.trace_id
    assert (other.trace_id, other.parent_id) == (OURS[3:35], OURS[36:52])


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        OURS.upper(),
        OURS + "-more",
        OURS + "\n",
        " " + OURS,
        OURS.replace("00-", "01-", 1),
        OURS[:-2] + "03",
        OURS[:-2] + "zz",
        "00-" + "0" * 32 + OURS[35:],
        OURS[:36] + "0" * 16 + "-01",
        OURS.replace("-b7", "-canary@example.com-b7"),
    ],
)
def test_a_link_that_is_not_to_the_letter_is_ignored(text: Any) -> None:
    assert read_traceparent(text) is None
    with tracing() as (collector, _), span(SpanName.JOB_RUN, parent=text):
        pass
    (seen,) = collector.spans()
    assert seen.parent_id == ""
    assert seen.trace_id != OURS[3:35]


def test_a_link_comes_back_as_it_was() -> None:
    for text in (OURS, OURS[:-1] + "0"):
        link = read_traceparent(text)
        assert link is not None
        assert link.traceparent == text


def test_one_in_so_many_traces_is_recorded_whole_or_not_at_all() -> None:
    with tracing(trace_one_in=1_000_000_000) as (collector, _):
        for _number in range(50):
            with span(SpanName.HTTP_REQUEST):
                carried = current_traceparent()
                with span(SpanName.PLUGIN_CALL):
                    pass
            assert carried is not None
            assert carried.endswith("-00")
            with span(SpanName.JOB_RUN, parent=carried):
                pass
        with span(SpanName.JOB_RUN, parent=OURS):
            pass
    assert [seen.trace_id for seen in collector.spans()] == [OURS[3:35]]


def test_wallet_calls_are_told_after_the_fact_one_in_so_many() -> None:
    with tracing(trace_one_in=1_000_000_000, trace_wallet_one_in=5) as (collector, metrics):
        for _ in range(12):
            metrics.record_wallet_call("aurora", "softswiss", "accepted", 0.25)
    seen = collector.named("wallet.call")
    assert len(seen) == 2
    assert seen[0].facts == {
        "pitboss.tenant": "aurora",
        "pitboss.plugin": "softswiss",
        "pitboss.outcome": "accepted",
    }
    assert seen[0].seconds == pytest.approx(0.25, abs=0.001)
    assert metrics.count_wallet_calls() == 12
    metrics.record_wallet_call("aurora", "softswiss", "accepted", 0.25)


def test_a_collector_that_is_away_costs_no_more_than_a_count() -> None:
    metrics = Metrics()
    recorder = OtlpRecorder(Settings(otlp_endpoint="http://127.0.0.1:9", trace_one_in=1), "web", metrics)
    traces.use_recorder(recorder)
    try:
        began = time.monotonic()
        for _ in range(3 * MAX_WAITING):
            record_past(SpanName.WALLET_CALL, 0.001, tenant="aurora")
        assert time.monotonic() - began < 20, "nobody waited for the collector"
    finally:
        traces.use_recorder(None)
        began = time.monotonic()
        recorder.close()
    assert time.monotonic() - began < 15
    crowded = count(metrics, 'pitboss_trace_spans_total{outcome="crowded"}')
    failed = count(metrics, 'pitboss_trace_spans_total{outcome="failed"}')
    assert crowded >= MAX_WAITING / 2
    assert crowded + failed <= 3 * MAX_WAITING
    assert failed > 0
    assert count(metrics, 'pitboss_trace_spans_total{outcome="sent"}') == 0


def test_a_collector_that_refuses_is_counted() -> None:
    with tracing() as (collector, metrics):
        collector.status = 400
        with span(SpanName.HTTP_REQUEST):
            pass
    assert count(metrics, 'pitboss_trace_spans_total{outcome="failed"}') == 1


OFF = """
import asyncio, sys
from pitboss.platform.settings import load_settings
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import NO_SPAN, SpanName, current_traceparent, open_tracing, record_past, span
import pitboss.web.app, pitboss.worker.relay, pitboss.worker.runner, pitboss.plughost.runtime, pitboss.hosting.runtime
metrics = Metrics()
note = metrics.record_wallet_call
with open_tracing(load_settings({}), "web", metrics):
    first = span(SpanName.HTTP_REQUEST, email="x")
    second = span(SpanName.JOB_RUN)
    with first:
        assert current_traceparent() is None
    record_past(SpanName.WALLET_CALL, 0.1, tenant="aurora")
    assert first is second is NO_SPAN
    assert metrics.record_wallet_call == note, "a wallet call pays nothing"
# The Redis client takes in the library's metrics wherever it is installed; what makes and sends spans it does not.
parts = ("opentelemetry.exporter", "opentelemetry.proto", "opentelemetry.sdk.trace.export", "requests", "google")
print([name for name in sys.modules if name.startswith(parts)])
"""


def test_without_an_endpoint_no_span_is_made_and_no_library_imported() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_log_lines_of_a_span_name_its_trace() -> None:
    guard = FieldGuard("test", Metrics())
    with tracing() as (collector, _), span(SpanName.JOB_RUN):
        line = guard(None, "", {"event": "job.ended"})
    (seen,) = collector.spans()
    assert line["trace_id"] == seen.trace_id
    assert "trace_id" not in guard(None, "", {"event": "job.ended"})


@pytest.mark.parametrize("value", ["collector:4318", "http://a@b", "http://a/?x=1", "ftp://a", "http://a b"])
def test_an_endpoint_is_an_address_and_nothing_more(value: str) -> None:
    with pytest.raises(SettingsInvalid):
        load_settings({"PITBOSS_OTLP_ENDPOINT": value})


SAMPLES: dict[FieldClass, tuple[list[object], list[object]]] = {
    FieldClass.NAME: (
        ["games.sync_catalogue", "br-1", "hub88", "Outer.<locals>.Inner"],
        [*CANARIES, "a b", "Ñandú", 7],
    ),
    FieldClass.NUMBER: ([0, 1.5, True], ["7", [7], {"a": 1}]),
    FieldClass.ID: (
        [7, "7", "0af7651916cd43dd8448eb211c80319c", "0af76519-16cd-43dd-8448-eb211c80319c"],
        [*CANARIES, 1.5],
    ),
    FieldClass.PLACE: (
        ["127.0.0.1", "/api/v1/me/{x:uuid}", "<string>:3 < web/app.py:7"],
        ["a@b", "/a?b=c", "a#b", "Ñ"],
    ),
    FieldClass.MOMENT: (["2026-11-21T08:00:00.123Z"], ["1961-07-23", "soon"]),
    FieldClass.WORDS: (["raised ValueError", "took longer than 0.5 s"], [*(CANARIES[n] for n in (0, 1, 2, 3, 4)), 7]),
}


@pytest.mark.parametrize("kind", list(FieldClass))
def test_each_class_has_a_shape(kind: FieldClass) -> None:
    name = next(name for name, each in FIELDS.items() if each is kind)
    fit, unfit = SAMPLES[kind]
    for value in fit:
        assert keep_allowed({name: value}) == ({name: value}, 0), value
    for value in unfit:
        assert keep_allowed({name: value}) == ({}, 1), value


def test_every_class_is_used() -> None:
    assert set(FIELDS.values()) == set(FieldClass) == set(SAMPLES)
    assert json.dumps(keep_allowed({"tenant": None})[0]) == '{"tenant": null}'
    with NO_SPAN as nothing:
        nothing.note(email="x")
        nothing.fail(ValueError())
