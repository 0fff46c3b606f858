"""The report: medians of ratios round by round, names only for what was measured, findings that fail the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bench.cases import Sample
from tests.bench.draws import LEDGER_MIX, Ask, draw_asks, draw_ranks
from tests.bench.measure import cpu_seconds
from tests.bench.report import Measured, Outcome, compute_figures, draw, render, write_figures
from tests.bench.session import NOT_BUILT, judge

from pitboss.ledger.contracts import Finding

FACTS: dict[str, str | float] = {
    "cpu_model": "x",
    "cores": 2,
    "kernel": "6",
    "python": "3",
    "postgres": "18",
    "fdatasync_us": 50.0,
    "load_average_start": 0.1,
}
GROWN = {"journal": 200.0, "journal_indexes": 50.0, "call_key": 90.0, "call_key_indexes": 60.0, "round": 44.0}


def measured(name: str, rates: list[float], p99_ms: float | None = None) -> Measured:
    case = Measured(name, name)
    case.add(Sample(7, 1.0), 1.0, keep=False)
    for rate in rates:
        case.add(Sample(int(rate), 1.0, p99_ms, p99_ms, 0.5, 0.25), 0.1, keep=True)
    return case


def outcome(*cases: Measured) -> Outcome:
    return Outcome("quick", FACTS, {each.name: each for each in cases}, dict(NOT_BUILT), GROWN, None, ())


def test_ratios_are_made_round_by_round() -> None:
    # The second round of both was slow: the ratio of medians would be 3, the median of ratios is 2.
    figures = compute_figures(
        outcome(measured("pgbench", [1000, 100, 1000]), measured("wallet_http_64", [2000, 300, 2000], 12.5))
    )
    assert figures["wallet_http_per_pgbench_64"] == 2
    assert figures["wallet_http_per_pgbench_64_most"] == 3
    assert figures["wallet_p99_ms_64"] == 12.5
    assert figures["web_cpu_us_per_call_64"] == 125
    assert figures["generator_cpu_us_per_call_64"] == 250
    assert figures["bytes_per_call"] == 400


def test_hot_against_spread_and_names_by_batch() -> None:
    cases = [measured("ledger_hot_64", [950]), measured("ledger_spread_64", [1000]), measured("ledger_64", [5000])]
    figures = compute_figures(outcome(measured("pgbench", [1000]), *cases))
    assert figures["hot_account_per_spread"] == 0.95
    assert figures["ledger_per_pgbench_64"] == 5
    assert figures["ledger_server_us_per_call_64"] == 20


def test_what_was_not_measured_has_no_name_and_is_told(tmp_path: Path) -> None:
    told = outcome(measured("pgbench", [1000]))
    told.missing["wallet_http_64"] = "the web process ended"
    write_figures(told, tmp_path)
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert not [name for name in figures if name.startswith(("wallet_", "ledger_", "web_"))]
    assert "missing: wallet_http_64: the web process ended" in render(told)


def test_a_run_of_few_cases_keeps_the_figures_of_others(tmp_path: Path) -> None:
    write_figures(outcome(measured("pgbench", [1000]), measured("ledger_64", [5000])), tmp_path)
    write_figures(outcome(measured("pgbench", [1000]), measured("ledger_16", [3000])), tmp_path, keep_others=True)
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert (kept["ledger_per_pgbench_64"], kept["ledger_per_pgbench_16"]) == (5, 3)
    write_figures(outcome(measured("pgbench", [1000])), tmp_path)
    assert "ledger_per_pgbench_64" not in json.loads((tmp_path / "bench.json").read_text())


def test_the_picture_is_drawn_with_and_without_cases(tmp_path: Path) -> None:
    draw(outcome(measured("pgbench", [1000])), tmp_path)
    draw(
        outcome(measured("pgbench", [1000]), measured("wallet_http_8", [500], 3), measured("ledger_16", [4000])),
        tmp_path,
    )
    assert (tmp_path / "throughput.png").stat().st_size > 10_000
    assert "<svg" in (tmp_path / "throughput.svg").read_text()


def test_findings_and_failed_cases_fail_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge((), dict(NOT_BUILT)) == 0
    assert judge((), {**NOT_BUILT, "wallet_http_64": "500 to a bet"}) == 1
    assert judge((Finding(1, "conservation", "EUR", "one cent is missing"),), {}) == 1
    assert "one cent is missing" in capsys.readouterr().err


def test_the_mix_and_the_wallets_are_drawn_as_defined() -> None:
    import random

    asks = draw_asks(LEDGER_MIX, random.Random(1), 100_000)
    for ask, share in LEDGER_MIX.items():
        assert asks.count(int(ask)) / 1000 == pytest.approx(share, abs=0.5)
    assert sum(LEDGER_MIX.values()) == 100
    assert Ask.BALANCE not in LEDGER_MIX
    ranks = draw_ranks(1000, random.Random(1), 100_000)
    # Zipf with exponent 1: the busiest of 1000 has 1 / 7.485 of all calls, twice as many as the next.
    assert ranks.count(0) / 100_000 == pytest.approx(0.1336, abs=0.005)
    assert ranks.count(0) / ranks.count(1) == pytest.approx(2, abs=0.1)


def test_cpu_of_children_is_counted_while_they_run_and_after() -> None:
    import os
    import subprocess
    import sys

    before = cpu_seconds(os.getpid(), with_children=True)
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert cpu_seconds(os.getpid(), with_children=True) - before > 0.25
