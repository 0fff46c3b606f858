"""What the host gives a plugin: an HTTP client that may only reach the hosts its manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class HttpResponse(msgspec.Struct, frozen=True):
    """The answer of a vendor: status, header names in lower case, whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSent(Exception):
    """No byte of the request left this process."""


class MaybeSent(Exception):
    """The request left, or may have; no whole answer came back."""


class HttpClient(Protocol):
    """The only way out of the process for a plugin. Egress outside the allow-list raises `NotSent`."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_ms: int
    ) -> HttpResponse:
        """Send one request and return the whole answer; raise `NotSent` or `MaybeSent`."""
        ...
