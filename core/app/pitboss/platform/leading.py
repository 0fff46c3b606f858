"""One process of many leads: it holds a connection, and by it a lock of the database session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import MAX_CONTEXT_TENANTS, parse_url


class Leader:
    """What a process that leads is made on; `try_to_lead` takes the lock for as long as the connection lives."""

    def __init__(
        self,
        url: str,
        name: str,
        try_to_lead: Callable[[asyncpg.Connection], Awaitable[bool]],
        *,
        command_timeout_seconds: int,
    ) -> None:
        self._url = parse_url(url).render_as_string(hide_password=False)
        self._name = name
        self._try_to_lead = try_to_lead
        self._command_timeout_seconds = command_timeout_seconds
        self._connection: asyncpg.Connection | None = None
        self.leads = False

    async def lead(self) -> asyncpg.Connection | None:
        """Return the connection, opened where there is none; None while another process leads."""
        if self._connection is None or self._connection.is_closed():
            self.leads = False
            self._connection = await asyncpg.connect(
                self._url,
                timeout=10,
                command_timeout=self._command_timeout_seconds,
                server_settings={"application_name": self._name},
            )
        if not self.leads:
            self.leads = await self._try_to_lead(self._connection)
        return self._connection if self.leads else None

    def drop(self) -> None:
        """Let go of the connection, and with it of the lead."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection, self.leads = None, False

    async def close(self) -> None:
        """Close the connection in order."""
        if self._connection is not None:
            await self._connection.close()
        self._connection, self.leads = None, False


def batched_scopes(scopes: Sequence[TenantScope]) -> list[Sequence[TenantScope]]:
    """Return scopes in pieces that one signed context can hold."""
    return [scopes[start : start + MAX_CONTEXT_TENANTS] for start in range(0, len(scopes), MAX_CONTEXT_TENANTS)]
