"""Thousands of seeded runs of lanes over a line that breaks; and every planted fault is seen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
import structlog
from tests.factories.figures import write_figures
from tests.property.lane_simulator import simulate
from tests.property.mutants import MUTANTS, Mutant

SEEDS = int(os.environ.get("SIMULATOR_SEEDS", "1500"))
FIRST = int(os.environ.get("SIMULATOR_FIRST_SEED", "1"))
ENOUGH_FOR_A_MUTANT = 1000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def test_no_seed_breaks_a_promise() -> None:
    began = time.monotonic()
    failed = {seed: found for seed in range(FIRST, FIRST + SEEDS) if (found := simulate(seed))}
    minutes = (time.monotonic() - began) / 60
    write_figures(
        "lane_simulator",
        {"seeds": SEEDS, "seeds_per_minute": round(SEEDS / minutes), "failing_seeds": len(failed)},
    )
    for seed, found in list(failed.items())[:5]:
        print(f"seed {seed}: SIMULATOR_FIRST_SEED={seed} SIMULATOR_SEEDS=1 pytest {__file__}")
        print("  " + "\n  ".join(found[:5]))
    assert not failed


def test_a_seed_runs_the_same_way_twice() -> None:
    broken = next(mutant for mutant in MUTANTS if mutant.name == "no tombstone").parts()
    first = [simulate(seed, broken) for seed in range(1, 120)]
    assert [simulate(seed, broken) for seed in range(1, 120)] == first
    assert any(first)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_is_found(mutant: Mutant) -> None:
    parts = mutant.parts()
    assert any(simulate(seed, parts) for seed in range(1, ENOUGH_FOR_A_MUTANT + 1)), (
        f"{ENOUGH_FOR_A_MUTANT} seeds did not see it"
    )
