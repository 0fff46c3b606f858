"""What the tests of the web share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.factories.web import WebUnderTest


@pytest.fixture
async def client(web: WebUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the web that a module's own fixture opens."""
    async with web.client() as opened:
        yield opened
