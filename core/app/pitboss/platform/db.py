"""PostgreSQL: the two metadatas, the signed tenant context, and the transactions that edges open."""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, Literal, cast

import asyncpg
import msgspec
from sqlalchemy import MetaData, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from pitboss.kernel.classes import AuditMode, Retention, Sort, spread_columns
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import ForeignCell, TenantScope
from pitboss.kernel.statements import ReadPart, WritePart, compose_reads, compose_writes
from pitboss.platform.settings import ContextKey
from pitboss_sdk.errors import ErrorKind, PitbossError

MAX_CONTEXT_TENANTS: Final = 64
"""Most tenants under one context (wallet lanes, the relay)."""
CONTEXT_LIFETIME_SECONDS: Final = 300
"""A context older than this opens nothing; transactions are far shorter."""
SNAPSHOT_LIFETIME_SECONDS: Final = 6 * 3600
"""A verification reads whole ledgers; its context still ends with its transaction."""
CONTEXT_REFRESH_SECONDS: Final = 60
"""How long a lane keeps a context before it signs another."""
REPLAN_AFTER: Final = (20, 200, 2_000, 20_000)
"""Uses after which a lane's plans are made anew, the last number again and again.

A generic plan made while a table is small may take the wrong one of two indexes and never learn better.
"""

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Role = Literal["app", "worker", "relay", "seq", "platform", "owner"]
"""Group roles that a table may grant to; the owner sees rows only where a definer function of ours needs it."""


class ControlBase(DeclarativeBase):
    """Tables of the control plane: the tenant directory, no player data."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=_NAMING)


class CellBase(DeclarativeBase):
    """Tables of a cell."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=_NAMING)


def table_info(
    *,
    grants: Mapping[Role, str],
    columns: Mapping[Sort, str],
    retention: Retention,
    audit: AuditMode,
    tenant: bool = True,
    why_no_tenant: str = "",
    audit_key: str = "",
    quiet: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the `info` of a table: what each role may do, that its rows belong to tenants, and what its columns hold.

    A table without a tenant says why; migrations write policies and grants from this and nothing else. `columns` names
    every column under its sort; a test refuses a table that leaves one of them out.

    Changes of a table that is audited by events are captured: `audit_key` names the columns by which events call a
    row, where they are not its key, and `quiet` those whose change alone is captured by nobody, each with its reason.
    """
    return {
        "tenant": tenant,
        "why_no_tenant": why_no_tenant,
        "grants": dict(grants),
        "columns": spread_columns(columns),
        "retention": retention,
        "audit": audit,
        "audit_key": audit_key,
        "quiet": dict(quiet or {}),
    }


class DatabaseUnavailable(PitbossError):
    """The database did not answer; the same call may succeed later."""

    code = "platform.database_unavailable"
    kind = ErrorKind.UNAVAILABLE


NOT_NOW: Final = asyncpg.CannotConnectNowError.sqlstate
"""What a server that is starting says, and a database of a tenant that is not served in this cell."""


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", ""))


def is_unavailable(error: BaseException) -> bool:
    """Return whether `error` means that the server is away or starting, so that the same call may succeed later."""
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _sqlstate(error) == NOT_NOW):
        return True
    return isinstance(
        error,
        DatabaseUnavailable
        | InterfaceError
        | OperationalError
        | PoolTimeout
        | asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.AdminShutdownError
        | asyncpg.CrashShutdownError
        | asyncpg.TooManyConnectionsError
        | ConnectionError,
    )


class ContextSigner:
    """Signs the tenant context that row-level security believes (security design, section 6.2)."""

    def __init__(self, keys: Sequence[ContextKey]) -> None:
        self._key = keys[0]

    def sign(
        self, tenant_ids: Iterable[int], backend_pid: int, lifetime_seconds: int = CONTEXT_LIFETIME_SECONDS
    ) -> str:
        """Return a context for at most `MAX_CONTEXT_TENANTS` tenants, bound to one database session."""
        ordered = sorted(set(tenant_ids))
        if len(ordered) > MAX_CONTEXT_TENANTS:
            raise ValueError(f"a context carries at most {MAX_CONTEXT_TENANTS} tenants")
        tenants = ",".join(map(str, ordered))
        message = f"{self._key.key_id}.{tenants}.{backend_pid}.{epoch_seconds() + lifetime_seconds}"
        mac = hmac.digest(self._key.secret, message.encode(), "sha256").hex()
        return f"{message}.{mac}"


SET_SESSION_CONTEXT: Final = "select set_config('pitboss.ctx', $1, false)"
"""Binds a signed context to a lane's own connection; everyone else binds it to the transaction."""
IS_CONTEXT_BELIEVED: Final = "select ctx.tenants() is not null"
"""Whether the context that is bound opens anything; under one that is not believed every table looks empty."""


def parse_url(url: str) -> URL:
    """Return a database URL; the driver part, if any, is dropped."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql")


def create_engine(url: str, *, pool_size: int = 5) -> AsyncEngine:
    """Return an engine over asyncpg; connections are checked before use so that a restarted server is survived."""
    return create_async_engine(
        parse_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={"server_settings": {"application_name": "pitboss"}, "timeout": 10},
    )


_LANE_PINS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "jit": "off",
}
"""A plan cached while tables are empty must be the plan for full ones: index look-ups only."""


async def connect_lane(url: str, application_name: str) -> asyncpg.Connection:
    """Open a wallet lane's own connection, with the planner pinned to index look-ups."""
    dsn = parse_url(url).render_as_string(hide_password=False)
    return await asyncpg.connect(
        dsn, timeout=10, server_settings={"application_name": application_name, **_LANE_PINS}, command_timeout=30
    )


_ENCODER: Final = msgspec.json.Encoder()


def number_array(values: Sequence[int | None]) -> str:
    """Return numbers as an array literal, for parameters cast as ``$1::text::bigint[]``.

    The driver looks at each element of a list several times; a literal costs it far less.
    """
    return f"{{{_ENCODER.encode(values)[1:-1].decode()}}}"


def id_array(values: Sequence[str]) -> str:
    """Return UUIDs, as text with or without dashes, as an array literal; an empty one is null."""
    return "{" + ",".join([value or "NULL" for value in values]) + "}"


def text_array(values: Sequence[str]) -> str:
    """Return texts as an array literal, for parameters cast as ``$1::text::text[]``."""
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') > 2 * (len(values) - 1):
        joined = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return f'{{"{joined}"}}' if values else "{}"


class LaneConnection:
    """A connection that one part of a process has for itself, with a signed context for the tenants it serves."""

    def __init__(self, url: str, application_name: str, signer: ContextSigner) -> None:
        self._url = url
        self._application_name = application_name
        self._signer = signer
        self._connection: asyncpg.Connection | None = None
        self._covered: frozenset[int] = frozenset()
        self._signed_at = 0
        self._uses = 0

    async def ready(self, tenant_ids: frozenset[int]) -> asyncpg.Connection:
        """Return the connection, opened anew where it was lost, under a context that covers `tenant_ids`.

        Raise `ConnectionRefusedError` where the database does not believe the context.
        """
        connection = self._connection
        if connection is None or connection.is_closed():
            self.drop()
            self._connection = connection = await connect_lane(self._url, self._application_name)
        self._uses += 1
        if self._uses in REPLAN_AFTER or self._uses % REPLAN_AFTER[-1] == 0:
            await connection.execute("discard plans")
        # By the clock that contexts end by: the monotonic one stands still while a machine sleeps.
        if not tenant_ids <= self._covered or abs(epoch_seconds() - self._signed_at) > CONTEXT_REFRESH_SECONDS:
            union = tenant_ids | self._covered
            wanted = union if len(union) <= MAX_CONTEXT_TENANTS else tenant_ids
            await connection.execute(SET_SESSION_CONTEXT, self._signer.sign(wanted, connection.get_server_pid()))
            if not await connection.fetchval(IS_CONTEXT_BELIEVED):
                # Every table would look empty, and "there is no such player" is an answer for good.
                self.drop()
                raise ConnectionRefusedError("the database does not believe the key that signs tenant contexts")
            self._covered, self._signed_at = wanted, epoch_seconds()
        return connection

    def drop(self) -> None:
        """Let go of the connection at once; the next use opens another."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
        self._covered, self._signed_at, self._uses = frozenset(), 0, 0

    async def close(self) -> None:
        """Close the connection in order."""
        if self._connection is not None:
            await self._connection.close()


class LaneConnections:
    """What a lane reads and writes by: two connections, so that it can read while a batch is being committed."""

    def __init__(self, url: str, name: str, signer: ContextSigner) -> None:
        self._reader = LaneConnection(url, f"{name} reader", signer)
        self._writer = LaneConnection(url, name, signer)

    async def read(self, tenant_ids: frozenset[int], parts: Sequence[ReadPart]) -> list[str]:
        """Read several parts at one moment; return each one's JSON text, `[]` for null."""
        values: list[Any] = []
        for part in parts:
            values += part.args
        sql = compose_reads(tuple([(part.sql, len(part.args)) for part in parts]))
        connection = await self._reader.ready(tenant_ids)
        row = await connection.fetchrow(sql, *values)
        return [column or "[]" for column in row or ()]

    async def write(self, tenant_ids: frozenset[int], parts: Sequence[WritePart]) -> None:
        """Carry out several parts as one statement and transaction; raise `SerializationError` when a check fails."""
        if not parts:
            return
        values: list[Any] = []
        for part in parts:
            values += part.args
        sql = compose_writes(tuple([(part.sql, part.check, len(part.args)) for part in parts]))
        connection = await self._writer.ready(tenant_ids)
        await connection.fetch(sql, *values)

    def drop(self) -> None:
        """Let go of both connections at once; the next use opens others."""
        self._reader.drop()
        self._writer.drop()

    async def close(self) -> None:
        """Close both connections in order."""
        await self._reader.close()
        await self._writer.close()


class Database:
    """One cell's database behind one login; it refuses a scope of another cell."""

    def __init__(self, engine: AsyncEngine, cell: str, signer: ContextSigner) -> None:
        self.engine = engine
        self.cell = cell
        self._signer = signer

    @asynccontextmanager
    async def transaction(self, scope: TenantScope) -> AsyncGenerator[AsyncSession]:
        """Open one transaction under `scope`; commit at the end, roll back on an error."""
        if scope.cell != self.cell:
            raise ForeignCell(f"scope of cell {scope.cell} used in cell {self.cell}")
        async with self.tenants_transaction([scope.tenant_id]) as session:
            yield session

    @asynccontextmanager
    async def tenants_transaction(self, tenant_ids: Iterable[int]) -> AsyncGenerator[AsyncSession]:
        """Open one transaction under a set of this cell's tenants; for the relay and for verification."""
        async with self.engine.connect() as connection, connection.begin():
            token = self._signer.sign(tenant_ids, await backend_pid(connection))
            await connection.execute(text("select set_config('pitboss.ctx', :token, true)"), {"token": token})
            async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                yield session
                await session.flush()

    @asynccontextmanager
    async def snapshot(self, scope: TenantScope) -> AsyncGenerator[AsyncSession]:
        """Open one read-only REPEATABLE READ transaction under `scope`: however long it reads, it sees one moment."""
        if scope.cell != self.cell:
            raise ForeignCell(f"scope of cell {scope.cell} used in cell {self.cell}")
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                token = self._signer.sign([scope.tenant_id], await backend_pid(connection), SNAPSHOT_LIFETIME_SECONDS)
                await connection.execute(text("select set_config('pitboss.ctx', :token, true)"), {"token": token})
                async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                    yield session

    @asynccontextmanager
    async def cell_transaction(self) -> AsyncGenerator[AsyncSession]:
        """Open one transaction without any tenant: only tables that belong to no tenant show rows."""
        async with (
            self.engine.connect() as connection,
            connection.begin(),
            AsyncSession(bind=connection, expire_on_commit=False) as session,
        ):
            yield session
            await session.flush()


class ControlDatabase:
    """The control plane's database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """Open one transaction; commit at the end, roll back on an error."""
        async with (
            self.engine.connect() as connection,
            connection.begin(),
            AsyncSession(bind=connection, expire_on_commit=False) as session,
        ):
            yield session
            await session.flush()


async def backend_pid(connection: AsyncConnection) -> int:
    """Return the process id of the server session, as the driver learnt it when it connected."""
    raw = await connection.get_raw_connection()
    driver = cast("asyncpg.Connection", raw.driver_connection)
    return int(driver.get_server_pid())
