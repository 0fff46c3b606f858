"""Traces of every process of both cells: whole from control to a worker, and without a word of any person."""

from __future__ import annotations

import pytest
from tests.factories.collector import SeenSpan
from tests.residency.sweep import search
from tests.residency.test_canaries import PLANTED, Brazilian, brazilian
from tests.residency.world import World

from pitboss.platform.fields import keep_allowed
from pitboss.platform.processes import wait_until

__all__ = ["brazilian"]  # a fixture

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

STANDARD = {"error.type", "http.request.method", "http.route", "http.response.status_code"}


def children(spans: list[SeenSpan], parent: SeenSpan) -> list[SeenSpan]:
    return [span for span in spans if (span.trace_id, span.parent_id) == (parent.trace_id, parent.span_id)]


def test_a_trace_goes_from_control_over_a_cell_to_its_worker(world: World) -> None:
    """The apply of the start: a command asks the cell, which leaves a job behind, which relay and worker carry on."""

    def find_chains() -> set[tuple[str, ...]]:
        spans = world.collector.spans()
        return {
            (root.service, call.name, answer.service, str(answer.resource["pitboss.cell"]), work.service, work.name)
            for root in spans
            if root.name == "tenant.command"
            for call in children(spans, root)
            for answer in children(spans, call)
            for work in children(spans, answer)
        }

    wanted = {
        ("pitboss-command", "cell.call", "pitboss-web", cell, f"pitboss-{service}", name)
        for cell in ("eu-1", "br-1")
        for service, name in (("relay", "job.send"), ("worker", "job.run"))
    }
    assert wait_until(lambda: find_chains() >= wanted, 60), find_chains()


def test_a_vendor_is_called_on_the_trace_of_the_job(world: World) -> None:
    def find() -> list[SeenSpan]:
        spans = world.collector.spans()
        jobs = {span.span_id for span in spans if span.name == "job.run"}
        return [span for span in spans if span.name == "plugin.call" and span.parent_id in jobs]

    assert wait_until(lambda: bool(find()), 60)
    asked = {span.facts["pitboss.action"] for span in find()}
    assert "list_games" in asked
    assert asked <= {"list_games", "list_transactions"}


def test_no_trace_holds_anything_of_a_player(world: World, brazilian: Brazilian) -> None:
    def has_come() -> bool:
        of_brazil = [span for span in world.collector.spans() if span.resource.get("pitboss.cell") == "br-1"]
        routes = {span.facts.get("http.route") for span in of_brazil}
        done = {span.facts.get("pitboss.job") for span in of_brazil if span.name == "job.run"}
        return (
            {"/api/v1/players", "/api/v1/sessions", "/api/v1/password-resets"} <= routes
            and any(span.name == "wallet.call" for span in of_brazil)
            and "accounts.send_password_reset" in done
        )

    assert wait_until(has_come, 60), {span.facts.get("pitboss.job") for span in world.collector.spans()}
    bodies = list(world.collector.bodies)
    for body in bodies:
        assert list(search("traces", body, brazilian.marks)) == []
    assert list(search("traces", bodies[0] + PLANTED["email"].encode(), PLANTED)), "a planted one is found"


def test_every_field_of_every_span_is_on_the_list(world: World, brazilian: Brazilian) -> None:
    spans = world.collector.spans()
    assert len(spans) > 100
    for span in spans:
        own = {name.removeprefix("pitboss."): value for name, value in span.facts.items() if name not in STANDARD}
        assert keep_allowed(own) == (own, 0), span
        assert (span.message, span.events) == ("", 0)
        assert set(span.resource) <= {"service.name", "service.namespace", "pitboss.cell", "pitboss.locality"}


def test_a_caller_cannot_put_itself_on_a_trace(world: World) -> None:
    foreign = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    before = len(world.collector.named("http.request"))
    with world.client("br-1") as client:
        for path in ("/api/v1/me", "/control/v1/calls", "/wallet/jangada/hub88/balance"):
            client.post(path, headers={"traceparent": foreign, "baggage": "email=canary@example.com"}, content=b"{}")
    assert wait_until(lambda: len(world.collector.named("http.request")) > before, 30)
    assert foreign[3:35] not in {span.trace_id for span in world.collector.spans()}
    assert not any(b"canary@example.com" in body for body in world.collector.bodies)
