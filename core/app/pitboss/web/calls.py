"""Calls of control: verified before anything of them is read, answered once, done at the cell's desk."""

from typing import Any, Final

import msgspec
from litestar import Request, post
from litestar.response import Response

from pitboss.directory.contracts import PublicKey, SignedSnapshot
from pitboss.hosting.contracts import (
    CALLS_PATH,
    MAX_AGE_SECONDS,
    MAX_CALL_BYTES,
    SIGNATURE_HEADER,
    Call,
    CallKind,
    TenantCall,
)
from pitboss.hosting.errors import CallRefused, OrderRefused
from pitboss.hosting.runtime import CellDesk
from pitboss.hosting.service import accept_call
from pitboss.kernel.clock import epoch_seconds
from pitboss.permissions.service import require
from pitboss.platform.redis import CellRedis
from pitboss.platform.traces import SpanName, span
from pitboss.tenancy.contracts import By

_REMEMBER_SECONDS: Final = 2 * MAX_AGE_SECONDS


class CallDesk:
    """What the handler of calls needs: the keys that it believes, a memory of used calls, and who does the work."""

    def __init__(self, cell: str, keys: tuple[PublicKey, ...], redis: CellRedis, desk: CellDesk) -> None:
        self._cell = cell
        self._keys = keys
        self._redis = redis
        self._desk = desk

    async def answer(self, body: bytes, signature: str) -> object:
        """Do what a signed call asks and return the answer; raise `CallRefused` and what the desk raises."""
        call = accept_call(body, signature, self._keys, cell=self._cell, now_seconds=epoch_seconds())
        is_first = await self._redis.is_first(
            "hosting", "calls", str(call.call_id), lifetime_seconds=_REMEMBER_SECONDS, made_at=call.issued_at
        )
        if not is_first:
            raise CallRefused("the call was used before")
        try:
            with span(SpanName.CELL_ANSWER, parent=call.trace, action=call.kind.value):
                return await self._do(call)
        except msgspec.MsgspecError as error:
            raise OrderRefused(f"the content of {call.kind} cannot be read: {error}") from None

    async def _do(self, call: Call) -> object:
        if call.kind is CallKind.STORE_DIRECTORY:
            return await self._desk.store_directory(msgspec.json.decode(call.content, type=SignedSnapshot))
        asked = msgspec.json.decode(call.content, type=TenantCall)
        by = By(asked.actor, asked.origin)
        if call.kind is CallKind.PLAN_TENANT:
            require(asked.actor, "tenancy.tenant.view")
            return await self._desk.plan(asked.order, by)
        if call.kind is CallKind.READ_TENANT:
            require(asked.actor, "tenancy.tenant.view")
            return await self._desk.read(asked.order, by)
        require(asked.actor, "tenancy.tenant.configure")
        await self._desk.prepare(asked.order, by)
        return {}


@post(
    CALLS_PATH,
    status_code=200,
    opt={"public": "answers only what control has signed for this cell"},
    include_in_schema=False,
    request_max_body_size=MAX_CALL_BYTES,
)
async def answer_call(request: Request[Any, Any, Any]) -> Response[Any]:
    """Answer one call of control."""
    desk: CallDesk = request.app.state.call_desk
    return Response(await desk.answer(await request.body(), request.headers.get(SIGNATURE_HEADER, "")))
