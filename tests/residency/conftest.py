"""One platform with two cells for all tests of residency."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.factories.collector import run_collector
from tests.residency.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with run_collector() as collector:
        opened = World(collector)
        try:
            yield opened
        finally:
            opened.close()
