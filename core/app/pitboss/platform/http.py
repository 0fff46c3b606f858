"""The way out of the process for plugins: an HTTP client that reaches listed hosts and knows whether a byte left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx
import structlog

from pitboss.kernel.clock import monotonic_seconds
from pitboss_sdk.plugin import HttpResponse, MaybeSent, NotSent

MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
MAX_CONNECTIONS: Final = 32
GRACE_SECONDS: Final = 0.05
"""The transport's own limits act first: ended by the deadline of the whole, it leaves a half-open socket behind."""
_FIRST_BYTE: Final = "send_request_headers.started"

_log = structlog.get_logger(__name__)


class _Departure:
    """Hears from the transport when the first byte of a request goes to the socket."""

    def __init__(self) -> None:
        self.has_left = False

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith(_FIRST_BYTE):
            self.has_left = True


class PluginHttpClient:
    """The client that one plugin of one tenant gets. It follows no redirect and uses no proxy of the environment.

    Log lines name the host, the status and the time, never path, headers or bodies: vendors put secrets there.
    """

    def __init__(
        self, plugin: str, egress_hosts: Iterable[str], *, max_response_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self._plugin = plugin
        self._hosts = frozenset(host.lower() for host in egress_hosts)
        self._max_response_bytes = max_response_bytes
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=15),
        )

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_ms: int
    ) -> HttpResponse:
        """Send one request and return the whole answer within `timeout_ms`; raise `NotSent` or `MaybeSent`.

        A host (or host:port) that the plugin does not list raises `NotSent`. An answer above the size bound
        raises `MaybeSent`: the vendor has acted, what it said is not known.
        """
        target = self._check_target(url)
        departure = _Departure()
        began = monotonic_seconds()
        try:
            async with asyncio.timeout(timeout_ms / 1000 + GRACE_SECONDS):
                response = await self._exchange(method, target, headers, body, timeout_ms, departure)
        except Exception as error:  # noqa: BLE001 - whatever it is, what counts is whether a byte had left
            _log.warning(
                "plugin.call_failed",
                plugin=self._plugin,
                vendor_host=target.host,
                error_type=type(error).__name__,
                outcome="maybe_sent" if departure.has_left else "not_sent",
                duration_ms=int((monotonic_seconds() - began) * 1000),
            )
            reason = f"{type(error).__name__} while calling {target.host}"
            raise (MaybeSent(reason) if departure.has_left else NotSent(reason)) from None
        _log.info(
            "plugin.called",
            plugin=self._plugin,
            vendor_host=target.host,
            status=response.status,
            size_bytes=len(response.body),
            duration_ms=int((monotonic_seconds() - began) * 1000),
        )
        return response

    def _check_target(self, url: str) -> httpx.URL:
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            raise NotSent("the address is malformed") from None
        if target.scheme not in {"http", "https"} or target.userinfo:
            raise NotSent("the address is not plain http or https")
        names = {target.host, f"{target.host}:{target.port}"} if target.port else {target.host}
        if not names & self._hosts:
            _log.warning("plugin.egress_refused", plugin=self._plugin)
            raise NotSent("the host is not on the plugin's egress list")
        return target

    async def _exchange(
        self,
        method: str,
        target: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
        timeout_ms: int,
        departure: _Departure,
    ) -> HttpResponse:
        request = self._client.build_request(
            method,
            target,
            headers=dict(headers),
            content=body,
            timeout=timeout_ms / 1000,
            extensions={"trace": departure},
        )
        response = await self._client.send(request, stream=True)
        try:
            chunks = bytearray()
            async for chunk in response.aiter_bytes():
                chunks += chunk
                if len(chunks) > self._max_response_bytes:
                    raise ValueError("the answer is larger than allowed")
        finally:
            await response.aclose()
        return HttpResponse(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=bytes(chunks),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
