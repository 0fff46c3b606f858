"""Calls of control that somebody kept: no loss of memory makes a cell take one twice."""

from __future__ import annotations

import asyncio
import time

import msgspec
from tests.crash.traffic import Connection, Wire
from tests.torture.world import World

from pitboss.directory.contracts import SigningKey
from pitboss.hosting.contracts import CALLS_PATH, SIGNATURE_HEADER, Call, CallKind
from pitboss.hosting.errors import OrderRefused
from pitboss.hosting.rules import sign_call
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.ids import new_uuid

_SECONDS = 30


def use_call(world: World) -> Wire:
    """Return a signed call that the cell has taken a moment ago; what it asks for cannot be read, so nothing is done."""
    key = world.settings.call_signing_key
    assert key is not None
    deadline = time.monotonic() + _SECONDS
    while True:
        call = Call("eu-1", new_uuid(), epoch_seconds(), CallKind.PLAN_TENANT, msgspec.Raw(b'"nothing"'))
        body, signature = sign_call(call, SigningKey(key.key_id, key.raw))
        wire = Wire(CALLS_PATH, body, (("content-type", "application/json"), (SIGNATURE_HEADER, signature)))
        if is_taken(world, wire):
            return wire
        assert time.monotonic() < deadline, "the cell takes no call of control"
        time.sleep(0.2)


def is_taken(world: World, wire: Wire) -> bool:
    """Send a call and return whether the cell believed it; a refusal and no answer at all are no."""

    async def send() -> bool:
        connection = Connection(world.ports["web"])
        try:
            answer = await connection.send(wire)
        except (OSError, EOFError, ValueError, TimeoutError):
            return False
        finally:
            connection.drop()
        return bool(answer.json().get("code") == OrderRefused.code)

    return asyncio.run(send())
