"""One platform with two cells for all tests of residency."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.residency.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    opened = World()
    try:
        yield opened
    finally:
        opened.close()
