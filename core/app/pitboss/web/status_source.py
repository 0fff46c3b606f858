"""Where the status page gets what it shows: services of the rooms, the directory, Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from pitboss.directory.runtime import Directory
from pitboss.games import service as games
from pitboss.games.contracts import RoundSummary
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import MAX_CONTEXT_TENANTS, ControlDatabase, Database
from pitboss.platform.outbox import count_open
from pitboss.platform.redis import CellRedis
from pitboss.platform.telemetry import CallRate, Readiness
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import Candidate, DriverHealth, Enablement, HealthState, Stage
from pitboss.plughost.runtime import HealthBoard, PluginHost
from pitboss.tenancy import service as tenancy
from pitboss.web.status import CellRow, FactRow, PluginRow, ProcessRow, RoundRow, StatusView, TenantRow
from pitboss_sdk.errors import PitbossError

T = TypeVar("T")

Enabled = tuple[str, tuple[FactRow, ...]]
"""A tenant that has a plugin, and what the plugin tells of its configuration there."""

SHOWN_ROUNDS: Final = 20
_MAX_TENANTS_ASKED: Final = 16
"""Rounds are asked for tenant by tenant; a cell with more tenants shows those of the first."""


class CellStatusSource:
    """The state of one cell as its web process sees it."""

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        locality: str,
        plugins: PluginHost,
        rate: CallRate,
        readiness: Readiness,
        redis: CellRedis,
        health: HealthBoard,
    ) -> None:
        self._database = database
        self._directory = directory
        self._locality = locality
        self._plugins = plugins
        self._rate = rate
        self._readiness = readiness
        self._redis = redis
        self._health = health

    async def collect(self) -> StatusView:
        """Return the present state; parts that cannot be had are empty and named among the problems."""
        problems = await self._readiness.list_problems()
        scopes = self._directory.scopes()
        rounds = await _part(problems, "rounds", self._list_rounds(scopes[:_MAX_TENANTS_ASKED]), ())
        depth, oldest_seconds = await _part(problems, "outbox", self._measure_outbox(scopes), (0, 0.0))
        age_seconds = self._directory.age_seconds()
        return StatusView(
            plane="cell",
            place=self._directory.cell,
            cells=(
                CellRow(
                    self._directory.cell,
                    self._locality,
                    self._directory.version,
                    None if age_seconds is None else int(age_seconds),
                ),
            ),
            tenants=self._tenants(),
            plugins=await self._list_plugins(problems, scopes[:_MAX_TENANTS_ASKED]),
            processes=await _part(problems, "processes", self._list_processes(), ()),
            rounds=rounds,
            wallet_calls_per_minute=self._rate.per_minute(),
            open_jobs=depth,
            oldest_job_seconds=int(oldest_seconds),
            problems=problems,
        )

    def _tenants(self) -> tuple[TenantRow, ...]:
        return tuple(
            TenantRow(
                slug=tenant.slug,
                name=tenant.name,
                state=tenant.state.value,
                cell=self._directory.cell,
                domains=tuple(domain for brand in tenant.brands for domain in brand.domains),
                currencies=tenant.currencies,
                plugins=tenant.plugins,
            )
            for tenant in self._directory.tenants()
        )

    async def _list_rounds(self, scopes: Sequence[TenantScope]) -> tuple[RoundRow, ...]:
        found: list[RoundRow] = []
        for scope in scopes:
            async with self._database.transaction(scope) as session:
                page = await games.list_rounds(session, scope, page_size=SHOWN_ROUNDS)
            found.extend(_round_row(scope, summary) for summary in page.items)
        return tuple(sorted(found, key=lambda row: row.moment, reverse=True)[:SHOWN_ROUNDS])

    async def _measure_outbox(self, scopes: Sequence[TenantScope]) -> tuple[int, float]:
        depth, oldest_seconds = 0, 0.0
        for start in range(0, len(scopes), MAX_CONTEXT_TENANTS):
            tenant_ids = [scope.tenant_id for scope in scopes[start : start + MAX_CONTEXT_TENANTS]]
            async with self._database.tenants_transaction(tenant_ids) as session:
                count, age_seconds = await count_open(session)
            depth, oldest_seconds = depth + count, max(oldest_seconds, age_seconds)
        return depth, oldest_seconds

    async def _list_plugins(self, problems: dict[str, str], scopes: Sequence[TenantScope]) -> tuple[PluginRow, ...]:
        users = await _part(problems, "plugins", self._list_users(scopes), dict[str, list[Enabled]]())
        for slug in sorted(users.keys() - self._plugins.plugins.keys()):
            tenants = ", ".join(tenant for tenant, _ in users[slug])
            problems[f"plugin {slug}"] = f"enabled for {tenants}, and this process did not load it"
        troubled = await _part(problems, "plugin health", self._health.list_troubled(), [])
        return tuple(
            _plugin_row(
                candidate,
                users.get(candidate.name, []),
                [health for health in troubled if health.plugin == candidate.name],
                self._plugins.hooks.quarantined.get(candidate.name, ""),
            )
            for candidate in self._plugins.candidates
        )

    async def _list_users(self, scopes: Sequence[TenantScope]) -> dict[str, list[Enabled]]:
        users: dict[str, list[Enabled]] = {}
        for scope in scopes:
            async with self._database.transaction(scope) as session:
                for enabled in await plughost.list_enabled(session, scope):
                    users.setdefault(enabled.slug, []).append((scope.slug, self._list_facts(scope, enabled)))
        return users

    def _list_facts(self, scope: TenantScope, enabled: Enablement) -> tuple[FactRow, ...]:
        plugin = self._plugins.plugins.get(enabled.slug)
        if plugin is None:
            return ()
        try:
            config = plughost.decode_tenant_config(plugin, enabled)
        except PitbossError as error:
            return (FactRow(scope.slug, "configuration", error.detail, is_warning=True),)
        facts = self._plugins.hooks.list_status_facts(enabled.slug, config)
        return tuple(FactRow(scope.slug, fact.label, fact.value, fact.is_warning) for fact in facts)

    async def _list_processes(self) -> tuple[ProcessRow, ...]:
        now = epoch_seconds()
        return tuple(
            ProcessRow(note.name, note.pid, max(now - note.started_at, 0), note.problems)
            for note in await self._redis.list_processes()
        )


class ControlStatusSource:
    """The state of the control plane: the register of tenants and cells."""

    def __init__(self, database: ControlDatabase, readiness: Readiness) -> None:
        self._database = database
        self._readiness = readiness

    async def collect(self) -> StatusView:
        """Return the present state; parts that cannot be had are empty and named among the problems."""
        problems = await self._readiness.list_problems()
        cells, tenants = await _part(problems, "register", self._read_register(), ((), ()))
        return StatusView(plane="control", place="control", cells=cells, tenants=tenants, problems=problems)

    async def _read_register(self) -> tuple[tuple[CellRow, ...], tuple[TenantRow, ...]]:
        async with self._database.transaction() as session:
            places = await tenancy.list_cells(session)
            published = {place.cell: await tenancy.find_published(session, place.cell) for place in places}
            records = await tenancy.list_tenants(session)
        cells: list[CellRow] = []
        for place in places:
            snapshot = published[place.cell]
            cells.append(
                CellRow(place.cell, place.locality, snapshot.version if snapshot else 0, address=place.address)
            )
        tenants = tuple(
            TenantRow(
                slug=record.slug,
                name=record.name,
                state=record.state.value,
                cell=record.cell,
                domains=tuple(domain for brand in record.brands for domain in brand.domains),
                currencies=record.currencies,
                plugins=record.plugins,
            )
            for record in records
        )
        return tuple(cells), tenants


async def _part(problems: dict[str, str], name: str, work: Awaitable[T], missing: T) -> T:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - a page about trouble has to come up in trouble
        problems[name] = type(error).__name__
        return missing


def _plugin_row(
    candidate: Candidate, users: Sequence[Enabled], troubled: Sequence[DriverHealth], hooks_held: str
) -> PluginRow:
    problems = [*candidate.problems, *(f"{health.tenant}: {health.reason}" for health in troubled)]
    if hooks_held:
        problems.append(f"its hooks are not asked any more: {hooks_held}")
    worst = max((health.state for health in troubled), default=HealthState.HEALTHY)
    state = worst.name.lower() if users else "unused"
    if users and candidate.stage is not Stage.LOADED:
        state = "failing"
    return PluginRow(
        slug=candidate.name,
        title=candidate.manifest.title if candidate.manifest else candidate.name,
        version=candidate.version,
        tenants=tuple(tenant for tenant, _ in users),
        state=state,
        problem="; ".join(problems),
        facts=tuple(fact for _, facts in users for fact in facts),
    )


def _round_row(scope: TenantScope, summary: RoundSummary) -> RoundRow:
    return RoundRow(
        moment=summary.updated_at,
        tenant=scope.slug,
        game=summary.game,
        plugin=summary.plugin,
        mode=summary.mode.name.lower(),
        state=summary.state.name.lower(),
        currency=summary.currency,
        bet_minor=summary.bet_minor,
        win_minor=summary.win_minor,
        balance_minor=summary.balance_after_minor,
    )
