"""The two ends of a call: the desk in a cell that does what is asked, and control's client; and who sends directories."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec
import structlog

import pitboss.directory.service as directory
import pitboss.tenancy.service as tenancy
from pitboss.directory.contracts import PublicKey, SignedSnapshot, SigningKey
from pitboss.hosting import service
from pitboss.hosting.contracts import (
    CALLS_PATH,
    SIGNATURE_HEADER,
    Call,
    CallKind,
    CellPlan,
    HeldTenant,
    Installed,
    Stored,
    TenantCall,
    TenantOrder,
)
from pitboss.hosting.errors import CellAnswered, CellUnreachable
from pitboss.hosting.rules import sign_call
from pitboss.kernel.clock import epoch_seconds, monotonic_seconds, utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.keys.service import KeyRing
from pitboss.platform.db import ControlDatabase, Database
from pitboss.platform.peer import Unanswered, post_bytes
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import SpanName, current_traceparent, span
from pitboss.plughost.service import Secrets
from pitboss.tenancy.contracts import By, CellPlace
from pitboss_sdk.errors import PitbossError

CONFIRM_SECONDS: Final = 30
"""After this a cell is sent the directory that it confirmed once more: it may have come back from a backup."""
_CALL_TIMEOUT_SECONDS: Final = 20
_PUSH_TIMEOUT_SECONDS: Final = 5
_AGAIN_SECONDS: Final = 1
_LOG = structlog.get_logger(__name__)
T = TypeVar("T")


class Cell(Protocol):
    """What control may ask of a cell, however it is reached."""

    async def plan(self, order: TenantOrder, by: By) -> CellPlan:
        """Return what preparing a tenant would change."""
        ...

    async def read(self, order: TenantOrder, by: By) -> HeldTenant:
        """Return what the cell holds of a tenant's files."""
        ...

    async def prepare(self, order: TenantOrder, by: By) -> None:
        """Bring a tenant's books and plugins to what the order says."""
        ...

    async def store_directory(self, signed: SignedSnapshot) -> Stored:
        """Give the cell a directory; raise what refuses it."""
        ...


class CellDesk:
    """Does what control asks, on the cell's own database; each method is one transaction."""

    def __init__(
        self,
        database: Database,
        *,
        locality: str,
        host: Installed,
        directory_keys: Sequence[PublicKey],
        secrets: Secrets | None,
        ring: KeyRing,
    ) -> None:
        self._ring = ring
        self._database = database
        self._locality = locality
        self._host = host
        self._directory_keys = directory_keys
        self._secrets = secrets

    async def plan(self, order: TenantOrder, by: By) -> CellPlan:  # noqa: ARG002 - planning is not audited
        """Return what `prepare` would change, and why it may not; number 0 stands for a tenant not reserved yet."""
        scope = self._demand_place(order)
        problems = service.find_secret_problems(order, self._host, self._secrets) if self._secrets else []
        async with self._database.transaction(scope) as session:
            version = await directory.get_version(session)
            if problems:
                return CellPlan((), tuple(problems), version)
            rehearsal = await session.begin_nested()
            entries = await service.open_books(session, scope, order)
            await rehearsal.rollback()
            entries += await service.plan_configuration(session, scope, order, self._host, utc_now())
            refusals = await service.find_live_data(session, scope, order)
        return CellPlan(tuple(entries), tuple(refusals), version)

    async def read(self, order: TenantOrder, by: By) -> HeldTenant:  # noqa: ARG002 - reading is not audited
        """Return what the cell holds of a tenant's files; of the order only the tenant and names count."""
        scope = self._demand_place(order)
        async with self._database.transaction(scope) as session:
            return await service.read_tenant(session, scope, order)

    async def prepare(self, order: TenantOrder, by: By) -> None:
        """Bring a tenant's books and plugins to what the order says."""
        scope = self._demand_place(order)
        async with self._database.transaction(scope) as session:
            await service.prepare_tenant(
                session, scope, self._ring, order, self._host, utc_now(), actor=by.actor, origin=by.origin
            )

    async def store_directory(self, signed: SignedSnapshot) -> Stored:
        """Keep a directory that control signed for this cell; raise `SnapshotRefused`."""
        async with self._database.cell_transaction() as session:
            is_new = await directory.store_snapshot(
                session, signed, cell=self._database.cell, keys=self._directory_keys
            )
        return Stored(is_new)

    def _demand_place(self, order: TenantOrder) -> Any:
        return service.demand_place(order, cell=self._database.cell, locality=self._locality)


class CellClient:
    """A cell reached by signed calls at its address."""

    def __init__(
        self,
        place: CellPlace,
        key: SigningKey,
        *,
        timeout_seconds: float = _CALL_TIMEOUT_SECONDS,
        patience_seconds: float = 0,
    ) -> None:
        self._place = place
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds

    async def plan(self, order: TenantOrder, by: By) -> CellPlan:
        """Return what preparing a tenant would change."""
        return await self._call(CallKind.PLAN_TENANT, TenantCall(order, by.actor, by.origin), CellPlan)

    async def read(self, order: TenantOrder, by: By) -> HeldTenant:
        """Return what the cell holds of a tenant's files."""
        return await self._call(CallKind.READ_TENANT, TenantCall(order, by.actor, by.origin), HeldTenant)

    async def prepare(self, order: TenantOrder, by: By) -> None:
        """Bring a tenant's books and plugins to what the order says."""
        await self._call(CallKind.PREPARE_TENANT, TenantCall(order, by.actor, by.origin), dict[str, Any])

    async def store_directory(self, signed: SignedSnapshot) -> Stored:
        """Give the cell a directory."""
        return await self._call(CallKind.STORE_DIRECTORY, signed, Stored)

    async def _call(self, kind: CallKind, content: object, shape: type[T]) -> T:
        """Make a call and return the answer as `shape`; raise `CellUnreachable` or `CellAnswered`."""
        cell = self._place.cell
        if not self._place.address:
            raise CellUnreachable(f"the file of cell {cell} names no address")
        until = monotonic_seconds() + self._patience_seconds
        with span(SpanName.CELL_CALL, place=cell, action=kind.value):
            while True:
                try:
                    return await self._exchange(kind, content, shape)
                except CellAnswered as error:
                    # Such as a call of the second in which the cell's memory of used calls began: a new one is younger.
                    if not error.again or monotonic_seconds() >= until:
                        raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _exchange(self, kind: CallKind, content: object, shape: type[T]) -> T:
        cell = self._place.cell
        raw = msgspec.Raw(msgspec.json.encode(content))
        call = Call(cell, new_uuid(), epoch_seconds(), kind, raw, current_traceparent())
        body, signature = sign_call(call, self._key)
        headers = {"content-type": "application/json", SIGNATURE_HEADER: signature}
        try:
            status, answer = await post_bytes(
                self._place.address + CALLS_PATH,
                body,
                headers,
                timeout_seconds=self._timeout_seconds,
                patience_seconds=self._patience_seconds,
            )
            if status == 200:
                return msgspec.json.decode(answer, type=shape)
        except (Unanswered, msgspec.MsgspecError) as error:
            raise CellUnreachable(f"cell {cell} at {self._place.address}: {error}") from None
        told_code, told = _read_problem(answer)
        raise CellAnswered(f"cell {cell} answered {kind} with {status}: {told}", told_code, again=status == 503)


def _read_problem(answer: bytes) -> tuple[str, str]:
    try:
        problem: Mapping[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", "no problem document"
    code = str(problem.get("code", ""))
    return code, f"{code} {problem.get('detail', '')}".strip()


class Distributor:
    """Keeps what control publishes up to date, and sends it to every cell until the cell has it."""

    def __init__(
        self, control: ControlDatabase, *, directory_key: SigningKey, call_key: SigningKey, metrics: Metrics
    ) -> None:
        self._control = control
        self._metrics = metrics
        self._directory_key = directory_key
        self._key = call_key
        self._confirmed: dict[str, tuple[int, float]] = {}
        self._awaited: set[str] = set()

    async def renew(self) -> None:
        """Sign anew what an exchanged key or an apply that was cut off left behind."""
        by = By(Actor(ActorKind.SERVICE, "control"), Origin(request_id=str(new_uuid())))
        async with self._control.transaction() as session:
            await tenancy.publish_directories(session, self._directory_key, by)

    async def distribute(self) -> None:
        """Look once at every cell, at all together: none waits for one that is away."""
        async with self._control.transaction() as session:
            places = await tenancy.list_cells(session)
            published = {place.cell: await tenancy.find_published(session, place.cell) for place in places}
        self._await_only({place.cell for place in places if place.address})
        due = [
            self._send(place, signed)
            for place in places
            if (signed := published[place.cell]) is not None
            and place.address
            and self._is_due(place.cell, signed.version)
        ]
        await asyncio.gather(*due)

    def _await_only(self, cells: set[str]) -> None:
        """Let the metric tell of `cells`: one that never confirms must grow old too, or nobody is told of it."""
        for cell in cells - self._awaited:
            self._metrics.cell_confirmed_at.labels(cell).set(epoch_seconds())
        for cell in self._awaited - cells:
            self._metrics.cell_confirmed_at.remove(cell)
        self._awaited = cells

    def _is_due(self, cell: str, version: int) -> bool:
        known_version, at = self._confirmed.get(cell, (0, 0.0))
        return known_version != version or monotonic_seconds() - at > CONFIRM_SECONDS

    async def _send(self, place: CellPlace, signed: SignedSnapshot) -> None:
        client = CellClient(place, self._key, timeout_seconds=_PUSH_TIMEOUT_SECONDS)
        try:
            stored = await client.store_directory(signed)
        except PitbossError as error:
            code = error.told_code if isinstance(error, CellAnswered) else error.code
            _LOG.warning("directory.not_delivered", place=place.cell, error_code=code or error.code)
            return
        if stored.is_new:
            _LOG.info("directory.delivered", place=place.cell)
        self._confirmed[place.cell] = (signed.version, monotonic_seconds())
        self._metrics.cell_confirmed_at.labels(place.cell).set(epoch_seconds())
