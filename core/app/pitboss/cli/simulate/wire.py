"""The way to the platform: signed wallet calls and the JSON API, sent again until there is an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import httpx
import msgspec

from pitboss.cli.simulate.calls import INTERNAL, UNAVAILABLE, Answer
from pitboss.cli.simulate.tally import Tally
from pitboss.cli.simulate.vendors import Vendor

T = TypeVar("T")

_ATTEMPT_SECONDS: Final = 15.0
"""How long the aggregator waits for one attempt."""
_MAX_PAUSE_SECONDS: Final = 2.0
_MAX_INTERNAL_ERRORS: Final = 20
_CONNECTIONS: Final = 256


class Plan(msgspec.Struct, frozen=True):
    """What to do; secrets included. `rate` is rounds a second, 0 as fast as the players can."""

    target: str
    domain: str
    tenant: str
    vendors: tuple[Vendor, ...]
    senders: Mapping[str, tuple[str, str]]
    """Who sends notices, by plugin: the operator's name there and the secret."""
    operator_token: str
    host: str
    port: int
    rate: int
    players: int
    seconds: float | None
    calls: int | None
    seed: str
    duplicate_percent: int
    replay_percent: int
    bad_signature_percent: int

    def __repr__(self) -> str:
        return f"Plan({self.target!r}, {self.tenant!r}, …)"


class Denied(Exception):
    """The JSON API said no; the same request would get the same answer."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


class _Problem(msgspec.Struct):
    code: str = ""


class Platform:
    """One client for all players: connections are shared."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._plan = plan
        self._tally = tally
        self._http = httpx.AsyncClient(
            base_url=plan.target,
            headers={"host": plan.domain, "user-agent": "pitboss-simulate"},
            timeout=httpx.Timeout(_ATTEMPT_SECONDS, connect=5),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call_wallet(
        self,
        vendor: Vendor,
        operation: str,
        body: bytes,
        decimals: int,
        *,
        expect_code: str = "",
        signature: str = "",
        tenant: str = "",
    ) -> Answer:
        """Send a signed call, the same bytes again when asked to, on garbage and on silence, until it is answered.

        A 500 that is expected (a win before its bet) is an answer. One that goes on is returned as what it is.
        """
        path = f"/wallet/{tenant or self._plan.tenant}/{vendor.plugin}/{operation}"
        headers = {"content-type": "application/json", vendor.signature_header: signature or vendor.sign(body)}
        pause_seconds, internal_errors = 0.05, 0
        while True:
            answer = await self._attempt(vendor, path, body, headers, decimals)
            if answer is not None and answer.status == 500 and answer.api_code != expect_code:
                internal_errors += answer.api_code == INTERNAL
                if answer.api_code not in {INTERNAL, UNAVAILABLE} or internal_errors > _MAX_INTERNAL_ERRORS:
                    return answer
            elif answer is not None:
                return answer
            self._tally.counts["retries"] += 1
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _MAX_PAUSE_SECONDS)

    async def _attempt(
        self, vendor: Vendor, path: str, body: bytes, headers: dict[str, str], decimals: int
    ) -> Answer | None:
        began = time.monotonic()
        try:
            response = await self._http.post(path, content=body, headers=headers)
        except httpx.HTTPError as error:
            self._tally.add_call(type(error).__name__, time.monotonic() - began)
            return None
        answer = vendor.read(response.status_code, response.content, decimals)
        self._tally.add_call(answer.word if answer else f"{response.status_code} ?", time.monotonic() - began)
        return answer

    async def post_webhook(self, plugin: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        """Post a webhook and return the status; None where nothing came back."""
        path = f"/webhooks/{self._plan.tenant}/{plugin}"
        try:
            return (await self._http.post(path, content=body, headers=dict(headers))).status_code
        except httpx.HTTPError:
            return None

    async def ask(self, method: str, path: str, shape: type[T], *, body: Any = None, token: str = "") -> T:
        """Ask the JSON API and return the answer as `shape`; raise `Denied`. What may succeed later is tried again."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["content-type"] = "application/json"
        pause_seconds = 0.05
        while True:
            try:
                response = await self._http.request(method, f"/api/v1{path}", content=content, headers=headers)
            except httpx.HTTPError:
                response = None
            if response is not None and response.is_success:
                return msgspec.json.decode(response.content or b"null", type=shape)
            if response is not None and response.status_code != 429 and response.status_code < 500:
                raise Denied(response.status_code, _code_of(response.content))
            self._tally.counts["api_retries"] += 1
            wait_seconds = pause_seconds
            if response is not None and response.headers.get("retry-after", "").isdigit():
                wait_seconds = int(response.headers["retry-after"])
            await asyncio.sleep(wait_seconds)
            pause_seconds = min(pause_seconds * 2, _MAX_PAUSE_SECONDS)

    async def is_ready(self) -> bool:
        """Return whether the platform says so itself."""
        try:
            response = await self._http.get("/readyz", headers={"host": "localhost"})
        except httpx.HTTPError:
            return False
        return response.status_code == 200


def _code_of(content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=_Problem).code
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
