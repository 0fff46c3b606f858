"""Alert rules and dashboard ask for what exists, and every alert leads to a section that says what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs import promql

from pitboss.cli.stack import BLOCK, DEMO_PORT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
GUIDES = ROOT / "core" / "docs" / "guides"
KNOWN = promql.list_metrics((ROOT / "core/docs/reference/metrics.md").read_text())
WORDS = promql.list_words(ROOT)
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())


def list_panel_queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def find_lost_runbooks(rules: list[dict[str, Any]], guides: Path) -> Iterator[str]:
    for rule in rules:
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        path = guides / page
        headings = [line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#")]
        if anchor not in map(promql.make_anchor, headings):
            yield rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_what_exists(rule: dict[str, Any]) -> None:
    assert list(promql.find_faults(rule["expr"], KNOWN, WORDS)) == []
    assert list(promql.find_unsaid(rule["expr"], rule["annotations"]["summary"], KNOWN)) == []
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_leads_to_what_to_do() -> None:
    assert list(find_lost_runbooks(RULES, GUIDES)) == []


@pytest.mark.parametrize(("title", "query"), list(list_panel_queries()))
def test_a_panel_asks_for_what_exists(title: str, query: str) -> None:
    assert list(promql.find_faults(query, KNOWN, WORDS)) == []


def test_the_variables_of_the_dashboard_exist() -> None:
    asked = [each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    for query in asked:
        metric, label = query.removeprefix("label_values(").removesuffix(")").split(", ")
        assert label in KNOWN[metric]
    assert len(asked) == 2


def test_every_metric_of_ours_is_shown_or_watched() -> None:
    asked = " ".join([*(query for _, query in list_panel_queries()), *(rule["expr"] for rule in RULES)])
    ours = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in KNOWN}
    unseen = {name for name in ours if name.startswith("pitboss_") and name not in asked}
    assert unseen <= {"pitboss_outbox_sent_total"}  # the same jobs are counted where they end


def test_the_scraped_ports_are_those_of_a_run() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    scraped = {
        job["job_name"].removeprefix("pitboss-"): [
            int(target.rpartition(":")[2]) for group in job["static_configs"] for target in group["targets"]
        ]
        for job in jobs
    }
    assert scraped == {
        name: [DEMO_PORT + offset for offset in BLOCK[name]]
        for name in ("control", "web", "worker", "relay", "sequencer", "control-sequencer")
    }


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(rate(pitboss_wallet_calls_total[5m])", "is no PromQL"),
        ("pitboss_wallet_calls", "no metric pitboss_wallet_calls"),
        ('pitboss_wallet_calls_total{brand="aurora"}', "has no label brand"),
        ('pitboss_jobs_total{outcome="exploded"}', "nobody writes outcome='exploded'"),
        ("sum by (tenant) (pitboss_outbox_open_jobs)", "nothing has label tenant"),
        ("rate(pitboss_wallet_call_seconds[5m])", "no metric pitboss_wallet_call_seconds"),
        ("sum by (plugin) (sum by (tenant) (pitboss_plugin_health))", "nothing has label plugin"),
    ],
)
def test_a_planted_fault_is_found(query: str, fault: str) -> None:
    faults = list(promql.find_faults(query, KNOWN, WORDS))
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_label_that_the_query_loses_is_found() -> None:
    query = "sum by (cell) (pitboss_plugin_health) > 0"
    assert list(promql.find_unsaid(query, "{{ $labels.plugin }} in {{ $labels.cell }}", KNOWN)) == ["plugin"]


def test_a_runbook_that_leads_nowhere_is_found() -> None:
    planted = {"alert": "Planted", "annotations": {"runbook": "run-it.md#nowhere"}}
    there = {"alert": "There", "annotations": {"runbook": "run-it.md#what-lies-in-pitboss"}}
    assert list(find_lost_runbooks([planted, there], GUIDES)) == ["Planted"]


def test_prometheus_itself_takes_the_rules_and_they_fire() -> None:
    """An extra: syntax and names are held by the other tests on every machine."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH (Debian: the package prometheus): rules were not run by Prometheus")
    for words in (
        ("check", "config", str(FOLDER / "prometheus.yml")),
        ("test", "rules", str(FOLDER / "alerts_test.yml")),
    ):
        done = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
