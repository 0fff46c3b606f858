"""What `pitboss tenant` does: check files, compare them with control and cell, and bring both to what the files say.

An apply is four transactions: reserve in control, prepare the cell, activate and publish in control, store the
directory in the cell. Each is idempotent and audits what it changes, so a run after an interruption between or
inside any of them does what is missing and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

import pitboss.accounts.service as accounts
import pitboss.directory.service as directory
import pitboss.ledger.service as ledger
import pitboss.plughost.service as plughost
import pitboss.policy.service as policy
import pitboss.tenancy.service as tenancy
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.directory.contracts import PublicKey, SigningKey
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner, ControlDatabase, Database, create_engine
from pitboss.platform.secrets import SecretStore
from pitboss.platform.settings import Settings, require
from pitboss.plughost.contracts import LoadedPack
from pitboss.plughost.errors import FileInvalid
from pitboss.plughost.runtime import PluginHost, load_host, read_cell_file
from pitboss.policy.contracts import TenantPolicy
from pitboss.tenancy.contracts import (
    POLICY_FILE,
    By,
    CellPlace,
    Offer,
    Plan,
    PlanEntry,
    Problem,
    TenantFile,
    TenantFolder,
)
from pitboss.tenancy.errors import ApplyRunning, ChangeRefused, TenantFilesInvalid
from pitboss_sdk.errors import PitbossError

_APPLY_LOCK = 7220263


class Workshop:
    """The files, the plugins and packs that cells allow, and what tenants may name; no database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._hosts: dict[str, PluginHost] = {}

    @cached_property
    def offer(self) -> Offer:
        """Cells that have a file beside this cell's."""
        files = sorted(self.settings.cell_file.parent.glob("*.toml"))
        cells = [read_cell_file(path) for path in files]
        places = {found.cell: CellPlace(found.cell, found.locality) for found in cells}
        return Offer(places)

    def list_tenants(self) -> list[str]:
        """Return the tenants that have a folder."""
        return tenancy.list_folders(self.settings.tenants_dir)

    def host_of(self, cell: str) -> PluginHost:
        """Return the plugins and packs that `cell` allows, loaded."""
        if cell not in self._hosts:
            self._hosts[cell] = load_host(read_cell_file(self.settings.cell_file.parent / f"{cell}.toml"))
        return self._hosts[cell]

    def check(self, slug: str) -> TenantFolder:
        """Return a tenant's files; raise `TenantFilesInvalid` with everything that is wrong."""
        folder, problems = tenancy.check_folder(self.settings.tenants_dir, slug, self.offer)
        if folder is not None and folder.tenant.cell in self.offer.cells:
            problems += self._find_plugin_problems(slug, folder)
            problems += self._find_policy_problems(slug, folder)
        if folder is None or problems:
            raise TenantFilesInvalid(problems)
        return folder

    def _find_plugin_problems(self, slug: str, folder: TenantFolder) -> list[Problem]:
        host = self.host_of(folder.tenant.cell)
        problems: list[Problem] = []
        for index, plugin in enumerate(folder.tenant.plugins):
            file = f"{slug}/plugins/{plugin}.toml"
            try:
                names = plughost.check_config(
                    host.get_plugin(plugin), folder.plugins[plugin], locality=folder.tenant.locality, file=file
                )
                if self.settings.secrets_file is not None:
                    SecretStore(self.settings.secrets_file).resolve(names)
            except FileInvalid as fault:
                problems.append(Problem(fault.file, fault.key, fault.reason))
            except PitbossError as fault:
                problems.append(Problem(f"{slug}/tenant.toml", f"plugins[{index}]", fault.detail))
        return problems

    def read_policy(self, folder: TenantFolder) -> tuple[TenantPolicy, dict[str, LoadedPack]]:
        """Return what a checked tenant tightens, and its packs; raise `TenantFilesInvalid` for what changed since."""
        slug = folder.tenant.slug
        packs = self._find_packs(folder.tenant)
        read, problems = policy.check_policy(folder.policy, packs, moment=utc_now(), file=f"{slug}/{POLICY_FILE}")
        if read is None or problems:
            raise TenantFilesInvalid(problems)
        return read, packs

    def _find_packs(self, tenant: TenantFile) -> dict[str, LoadedPack]:
        packs = self.host_of(tenant.cell).packs
        return {slug: packs[slug] for slug in tenant.packs if slug in packs}

    def _find_policy_problems(self, slug: str, folder: TenantFolder) -> list[Problem]:
        host = self.host_of(folder.tenant.cell)
        problems: list[Problem] = []
        for index, pack in enumerate(folder.tenant.packs):
            try:
                host.get_pack(pack)
            except PitbossError as fault:
                problems.append(Problem(f"{slug}/tenant.toml", f"packs[{index}]", fault.detail))
        try:
            self.read_policy(folder)
        except TenantFilesInvalid as invalid:
            problems += invalid.problems
        return problems


class Deployment:
    """Both databases behind the application's logins, and who acts."""

    def __init__(self, workshop: Workshop, by: By, *, lock_wait_ms: int = 5000) -> None:
        settings = workshop.settings
        self._lock_wait_ms = lock_wait_ms
        self.workshop = workshop
        self.by = by
        key = require(settings, "directory_signing_key")
        self.signing_key = SigningKey(key.key_id, key.raw)
        self.public_keys = [PublicKey(key.key_id, key.raw) for key in require(settings, "directory_public_keys")]
        self.control = ControlDatabase(create_engine(require(settings, "control_database_url"), pool_size=2))
        self.cell = Database(
            create_engine(require(settings, "cell_database_url"), pool_size=2),
            settings.cell,
            ContextSigner(require(settings, "context_keys")),
        )

    def place_of(self, tenant: TenantFile) -> CellPlace:
        """Return the tenant's cell; raise `ChangeRefused` when this deployment reaches another."""
        if tenant.cell != self.cell.cell:
            raise ChangeRefused(
                f"tenant {tenant.slug} lives in cell {tenant.cell}, this deployment is {self.cell.cell}"
            )
        return self.workshop.offer.cells[tenant.cell]

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Keep other applies out; raise `ApplyRunning` when one does not end soon."""
        async with self.control.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(
                text("select set_config('lock_timeout', :wait, false)"), {"wait": f"{self._lock_wait_ms}ms"}
            )
            try:
                await connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": _APPLY_LOCK})
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", "") != "55P03":
                    raise
                raise ApplyRunning("another apply is running on this control database") from None
            try:
                yield
            finally:
                await connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": _APPLY_LOCK})
                await connection.execute(text("reset lock_timeout"))

    async def close(self) -> None:
        """Let go of both databases."""
        await self.control.engine.dispose()
        await self.cell.engine.dispose()


async def plan(deployment: Deployment, folder: TenantFolder) -> Plan:
    """Return what an apply would change in control and cell, and why it may not; nothing is changed."""
    tenant = folder.tenant
    place = deployment.place_of(tenant)
    async with deployment.control.transaction() as session:
        control = await tenancy.plan_tenant(session, tenant, place, deployment.signing_key)
        record = await tenancy.find_tenant(session, tenant.slug)
        published = await tenancy.find_published(session, place.cell)
    # Number 0 is no tenant's: it stands for one that is not reserved yet and owns nothing in the cell.
    scope = TenantScope(record.tenant_id if record else 0, tenant.slug, place.cell)
    async with deployment.cell.transaction(scope) as session:
        rehearsal = await session.begin_nested()
        entries = [*control.entries, *await _prepare_ledger(session, scope, folder)]
        await rehearsal.rollback()
        entries += await _plan_plugins(session, scope, folder, deployment.workshop.host_of(place.cell))
        tightened, packs = deployment.workshop.read_policy(folder)
        changes = await policy.plan_policy(session, scope, tightened, packs)
        entries += [_entry(f"policy.{change.path}", change.before, change.after) for change in changes]
        refusals = [*control.refusals, *await _find_live_data(session, scope, control.entries)]
        stored = await directory.get_version(session)
    coming = next((entry.after for entry in entries if entry.path == f"directory.{place.cell}.published"), None)
    version = coming or (published.version if published else 0)
    if stored > version:
        refusals.append(f"cell {place.cell} holds directory {stored}, control has published only {version}")
    elif stored < version:
        entries.append(PlanEntry("~" if stored else "+", f"directory.{place.cell}.stored", stored or None, version))
    return Plan(tenant.slug, tuple(entries), tuple(refusals))


async def reserve(deployment: Deployment, folder: TenantFolder) -> None:
    """Give the tenant its number in control; it does not serve yet."""
    async with deployment.control.transaction() as session:
        await tenancy.ensure_cell(session, deployment.place_of(folder.tenant), deployment.by)
        await tenancy.reserve_tenant(session, folder.tenant, deployment.by)


async def prepare(deployment: Deployment, folder: TenantFolder) -> None:
    """Open the tenant's books, enable its plugins and apply its policy in the cell."""
    scope = await _get_scope(deployment, folder.tenant)
    by = deployment.by
    host = deployment.workshop.host_of(scope.cell)
    async with deployment.cell.transaction(scope) as session:
        opened = await _prepare_ledger(session, scope, folder)
        if opened:
            changes = tuple(Change(entry.path, entry.before, entry.after) for entry in opened)
            event = AuditEvent("ledger.prepared", by.actor, by.origin, "ledger", scope.slug, changes)
            await record_event(session, scope, event)
        for slug, table in folder.plugins.items():
            await plughost.enable_plugin(
                session,
                scope,
                host.get_plugin(slug),
                table,
                locality=folder.tenant.locality,
                actor=by.actor,
                origin=by.origin,
            )
        for enabled in await plughost.list_enabled(session, scope):
            if enabled.slug not in folder.plugins:
                await plughost.disable_plugin(session, scope, enabled.slug, actor=by.actor, origin=by.origin)
        tightened, packs = deployment.workshop.read_policy(folder)
        await policy.apply_policy(session, scope, tightened, packs, actor=by.actor, origin=by.origin)


async def activate(deployment: Deployment, folder: TenantFolder) -> None:
    """Make control's register what the files say and sign the directories that change by it."""
    async with deployment.control.transaction() as session:
        await tenancy.configure_tenant(session, folder.tenant, deployment.by)
        await tenancy.publish_directories(session, deployment.signing_key, deployment.by)


async def store(deployment: Deployment, folder: TenantFolder) -> None:
    """Give the cell the directory that control signed for it; from here on it serves by it."""
    cell = folder.tenant.cell
    async with deployment.control.transaction() as session:
        published = await tenancy.find_published(session, cell)
    if published is not None:
        async with deployment.cell.cell_transaction() as session:
            await directory.store_snapshot(session, published, cell=cell, keys=deployment.public_keys)


Step = Callable[[Deployment, TenantFolder], Awaitable[None]]
STEPS: tuple[Step, ...] = (reserve, prepare, activate, store)
"""An apply, in order; each is one transaction that changes something."""


async def apply(deployment: Deployment, folder: TenantFolder) -> Plan:
    """Bring control and cell to what the files say and return what was changed; raise `ChangeRefused`."""
    async with deployment.alone():
        changes = await plan(deployment, folder)
        if changes.refusals:
            raise ChangeRefused(f"{changes.tenant}: {'; '.join(changes.refusals)}")
        for step in STEPS if changes.entries else ():
            await step(deployment, folder)
        return changes


async def _get_scope(deployment: Deployment, tenant: TenantFile) -> TenantScope:
    async with deployment.control.transaction() as session:
        record = await tenancy.get_tenant(session, tenant.slug)
    return TenantScope(record.tenant_id, record.slug, record.cell)


async def _prepare_ledger(session: AsyncSession, scope: TenantScope, folder: TenantFolder) -> list[PlanEntry]:
    """Open house accounts and sources that are missing, and return them."""
    before = await _read_books(session, scope)
    await ledger.open_house_accounts(session, scope, folder.tenant.currencies, folder.tenant.plugins)
    for plugin in folder.tenant.plugins:
        await ledger.ensure_source(session, scope, f"games.{plugin}")
    return [PlanEntry("+", path, None, True) for path in await _read_books(session, scope) if path not in before]


async def _read_books(session: AsyncSession, scope: TenantScope) -> list[str]:
    chart = await ledger.list_house_accounts(session, scope)
    accounts_held = [
        ".".join(filter(None, ("ledger", account.kind.name.lower(), account.currency, account.provider)))
        for account in chart
    ]
    return accounts_held + [f"ledger.source.{name}" for name in await ledger.list_sources(session, scope)]


async def _plan_plugins(
    session: AsyncSession, scope: TenantScope, folder: TenantFolder, host: PluginHost
) -> list[PlanEntry]:
    entries: list[PlanEntry] = []
    for slug, table in folder.plugins.items():
        changes = await plughost.plan_plugin(session, scope, host.get_plugin(slug), table)
        entries += [_entry(f"plugin.{slug}.{change.path}", change.before, change.after) for change in changes]
    for enabled in await plughost.list_enabled(session, scope):
        if enabled.slug not in folder.plugins:
            entries.append(_entry(f"plugin.{enabled.slug}.enabled", before=True, after=False))
    return entries


def _entry(path: str, before: Any, after: Any) -> PlanEntry:
    return PlanEntry("+" if before is None else "-" if after is None else "~", path, before, after)


async def _find_live_data(session: AsyncSession, scope: TenantScope, entries: Iterable[PlanEntry]) -> list[str]:
    """Return why what the plan takes away may not go: players of a brand, wallets of a currency."""
    gone = [entry.path.split(".") for entry in entries if entry.action == "-"]
    refusals: list[str] = []
    for brand in sorted({path[1] for path in gone if path[0] == "brands"}):
        players = await accounts.count_players(session, scope, brand)
        if players:
            refusals.append(f"brand {brand} cannot be removed: it has {players} player accounts")
    for currency in sorted(path[1] for path in gone if path[0] == "currencies"):
        wallets = await ledger.count_wallets(session, scope, currency)
        if wallets:
            refusals.append(f"currency {currency} cannot be removed: {wallets} wallets are kept in it")
    return refusals


def describe(changes: Plan) -> str:
    """Return a plan as lines for people."""
    lines = [f"{changes.tenant}: {len(changes.entries)} changes" if changes.entries else f"{changes.tenant}: no change"]
    for entry in changes.entries:
        sides = [_show(value) for value in (entry.before, entry.after) if value is not None and value is not True]
        lines.append(f"  {entry.action} {entry.path}{'  ' if sides else ''}{' → '.join(sides)}")
    lines += [f"  refused: {refusal}" for refusal in changes.refusals]
    return "\n".join(lines)


def _show(value: Any) -> str:
    return msgspec.json.encode(value).decode()
