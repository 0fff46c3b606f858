"""The way from control to a cell: one signed request, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx

from pitboss.kernel.clock import monotonic_seconds

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_PAUSE_SECONDS: Final = 0.1


class Unanswered(Exception):
    """No whole answer came; the request may have arrived."""


async def post_bytes(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float,
    patience_seconds: float = 0,
) -> tuple[int, bytes]:
    """Post and return status and body of the answer; raise `Unanswered`.

    While nobody listens there, it is tried again for `patience_seconds`. No redirect is followed and no proxy of
    the environment is used: a signed call goes to the address of the cell or nowhere.
    """
    until = monotonic_seconds() + patience_seconds
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=timeout_seconds) as client:
        while True:
            try:
                async with client.stream("POST", url, content=body, headers=dict(headers)) as response:
                    answer = b""
                    async for piece in response.aiter_bytes():
                        answer += piece
                        if len(answer) > MAX_ANSWER_BYTES:
                            raise Unanswered("the answer is too large")
                    return response.status_code, answer
            except httpx.ConnectError as error:
                if monotonic_seconds() >= until:
                    raise Unanswered(f"nobody listens ({type(error).__name__})") from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Unanswered(type(error).__name__) from None
            await asyncio.sleep(_PAUSE_SECONDS)
