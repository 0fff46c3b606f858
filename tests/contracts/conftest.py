"""Outside services that adapters are held against: stand-ins here, the real ones where they are on PATH."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.factories.cloud import serve_cloud


@pytest.fixture(scope="session")
def cloud() -> Iterator[str]:
    """The address of a stand-in for AWS."""
    with serve_cloud() as address:
        yield address
