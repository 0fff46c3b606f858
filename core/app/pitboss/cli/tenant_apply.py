"""What `pitboss tenant` does: check files, compare them with control and cell, and bring both to what the files say.

An apply is four transactions: reserve in control, prepare the cell, activate and publish in control, give the
cell its directory; other cells whose directory changes by it get theirs from the web of control. Each is idempotent and audits what it changes, so a run after an interruption between or
inside any of them does what is missing and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import pitboss.plughost.service as plughost
import pitboss.policy.service as policy
import pitboss.tenancy.service as tenancy
import pitboss.themes.service as themes
from pitboss.directory.contracts import PublicKey, SigningKey
from pitboss.hosting.contracts import TenantOrder, Touch
from pitboss.hosting.runtime import Cell, CellClient, CellDesk
from pitboss.kernel.clock import utc_now
from pitboss.keys.runtime import KeyRing
from pitboss.platform.db import ContextSigner, ControlDatabase, Database, create_engine
from pitboss.platform.keys import open_key_service
from pitboss.platform.secrets import SecretStore
from pitboss.platform.settings import Settings, require, require_all, variable
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
    TenantRecord,
)
from pitboss.tenancy.errors import ApplyRunning, ChangeRefused, TenantFilesInvalid
from pitboss.themes.contracts import BrandTheme
from pitboss_sdk.errors import PitbossError

_APPLY_LOCK = 7220263
_PATIENCE_SECONDS = 30
"""How long an apply waits for the web of a cell that is only just starting."""


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
        places = {found.cell: CellPlace(found.cell, found.locality, found.address) for found in cells}
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
        return self._judge(slug, *tenancy.check_folder(self.settings.tenants_dir, slug, self.offer))

    def check_files(self, slug: str, files: Mapping[str, bytes]) -> TenantFolder:
        """Do what `check` does with files that are not written yet."""
        return self._judge(slug, *tenancy.check_files(self.settings.tenants_dir, slug, files, self.offer))

    def _judge(self, slug: str, folder: TenantFolder | None, problems: list[Problem]) -> TenantFolder:
        if folder is not None and folder.tenant.cell in self.offer.cells:
            problems += self._find_plugin_problems(slug, folder)
            problems += self._find_policy_problems(slug, folder)
        if folder is not None:
            problems += self._read_themes(folder)[1]
        if folder is None or problems:
            raise TenantFilesInvalid(problems)
        return folder

    def _find_plugin_problems(self, slug: str, folder: TenantFolder) -> list[Problem]:
        problems: list[Problem] = []
        for index, plugin in enumerate(folder.tenant.plugins):
            try:
                names = self._list_secrets(folder, plugin)
                if self.settings.secrets_file is not None:
                    SecretStore(self.settings.secrets_file).resolve(names)
            except FileInvalid as fault:
                problems.append(Problem(fault.file, fault.key, fault.reason))
            except PitbossError as fault:
                problems.append(Problem(f"{slug}/tenant.toml", f"plugins[{index}]", fault.detail))
        return problems

    def list_secrets(self, folder: TenantFolder) -> list[str]:
        """Return the names of the secrets that a checked tenant's plugins refer to."""
        return sorted({name for plugin in folder.tenant.plugins for name in self._list_secrets(folder, plugin)})

    def _list_secrets(self, folder: TenantFolder, plugin: str) -> tuple[str, ...]:
        file = f"{folder.tenant.slug}/plugins/{plugin}.toml"
        table, locality = folder.plugins[plugin], folder.tenant.locality
        loaded = self.host_of(folder.tenant.cell).get_plugin(plugin)
        return plughost.check_config(loaded, table, locality=locality, file=file)

    def read_policy(self, folder: TenantFolder) -> tuple[TenantPolicy, dict[str, LoadedPack]]:
        """Return what a checked tenant tightens, and its packs; raise `TenantFilesInvalid` for what changed since."""
        slug = folder.tenant.slug
        packs = self._find_packs(folder.tenant)
        read, problems = policy.check_policy(folder.policy, packs, moment=utc_now(), file=f"{slug}/{POLICY_FILE}")
        if read is None or problems:
            raise TenantFilesInvalid(problems)
        return read, packs

    def read_themes(self, folder: TenantFolder) -> dict[str, BrandTheme]:
        """Return how a checked tenant's brands look; raise `TenantFilesInvalid` for what changed since."""
        read, problems = self._read_themes(folder)
        if problems:
            raise TenantFilesInvalid(problems)
        return read

    def _read_themes(self, folder: TenantFolder) -> tuple[dict[str, BrandTheme], list[Problem]]:
        brands = {brand.slug: brand.languages for brand in folder.tenant.brands}
        return themes.check_theme(folder.tenant.slug, folder.theme, folder.images, brands)

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


class Held(msgspec.Struct, frozen=True):
    """A tenant as control and its cell hold it: what its files would say, what they do not, and who changed it last."""

    record: TenantRecord
    folder: TenantFolder
    touches: tuple[Touch, ...]


class Deployment:
    """Control's database, the cells, and who acts; `cell` is there only where `has_cell` says so.

    The cell whose database login the settings hold is opened directly, every other is asked by signed calls.
    """

    def __init__(self, workshop: Workshop, by: By, *, lock_wait_ms: int = 5000) -> None:
        settings = workshop.settings
        self._lock_wait_ms = lock_wait_ms
        self.workshop = workshop
        self.by = by
        require_all(settings, "control_database_url", "directory_signing_key")
        key = require(settings, "directory_signing_key")
        self.signing_key = SigningKey(key.key_id, key.raw)
        self.public_keys = [PublicKey(key.key_id, key.raw) for key in settings.directory_public_keys]
        self.control = ControlDatabase(create_engine(require(settings, "control_database_url"), pool_size=2))
        self.has_cell = settings.cell_database_url is not None
        if settings.cell_database_url is not None:
            engine = create_engine(settings.cell_database_url, pool_size=2)
            self.cell = Database(engine, settings.cell, ContextSigner(require(settings, "context_keys")))
            self.ring = KeyRing(open_key_service(settings), settings.cell)

    def place_of(self, tenant: TenantFile | TenantRecord) -> CellPlace:
        """Return the tenant's cell; raise `ChangeRefused` when nothing here leads to it."""
        is_here = self.has_cell and tenant.cell == self.cell.cell
        if not is_here and self.workshop.settings.call_signing_key is None:
            raise ChangeRefused(
                f"tenant {tenant.slug} lives in cell {tenant.cell}, for which there is no database login here,"
                f" and {variable('call_signing_key')} is not set"
            )
        place = self.workshop.offer.cells.get(tenant.cell)
        if place is None:
            raise ChangeRefused(f"tenant {tenant.slug} lives in cell {tenant.cell}, which has no file here")
        return place

    def reach(self, place: CellPlace) -> Cell:
        """Return the way to a cell."""
        if self.has_cell and place.cell == self.cell.cell:
            file = self.workshop.settings.secrets_file
            return CellDesk(
                self.cell,
                locality=place.locality,
                host=self.workshop.host_of(place.cell),
                directory_keys=self.public_keys,
                secrets=SecretStore(file) if file is not None else None,
                ring=self.ring,
            )
        key = require(self.workshop.settings, "call_signing_key")
        return CellClient(place, SigningKey(key.key_id, key.raw), patience_seconds=_PATIENCE_SECONDS)

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
        """Let go of the databases."""
        await self.control.engine.dispose()
        if self.has_cell:
            await self.ring.service.close()
            await self.cell.engine.dispose()


async def plan(deployment: Deployment, folder: TenantFolder) -> Plan:
    """Return what an apply would change in control and cell, and why it may not; nothing is changed."""
    tenant = folder.tenant
    place = deployment.place_of(tenant)
    async with deployment.control.transaction() as session:
        control = await tenancy.plan_tenant(session, tenant, place, deployment.signing_key)
        record = await tenancy.find_tenant(session, tenant.slug)
        published = await tenancy.find_published(session, place.cell)
    looks = deployment.workshop.read_themes(folder)
    order = _order(folder, looks, record.tenant_id if record else 0, control.entries)
    there = await deployment.reach(place).plan(order, deployment.by)
    entries = [*control.entries, *there.entries]
    refusals = [*control.refusals, *there.refusals]
    coming = next((entry.after for entry in entries if entry.path == f"directory.{place.cell}.published"), None)
    version = coming or (published.version if published else 0)
    stored = there.directory_version
    if stored > version:
        refusals.append(f"cell {place.cell} holds directory {stored}, control has published only {version}")
    elif stored < version:
        entries.append(PlanEntry("~" if stored else "+", f"directory.{place.cell}.stored", stored or None, version))
    return Plan(tenant.slug, tuple(entries), tuple(refusals))


async def read_held(deployment: Deployment, slug: str) -> Held:
    """Return a tenant as it is held; raise `TenantNotFound`.

    Its plugins are those that the cell has enabled, whatever control's register says.
    """
    async with deployment.control.transaction() as session:
        record = await tenancy.get_tenant(session, slug)
    file = tenancy.file_from_record(record)
    order = _order(TenantFolder(file, {plugin: {} for plugin in record.plugins}), {}, record.tenant_id, ())
    there = await deployment.reach(deployment.place_of(record)).read(order, deployment.by)
    plugins = {found.slug: {plughost.VERSION_KEY: found.config_version, **found.config} for found in there.plugins}
    file = msgspec.structs.replace(file, plugins=tuple(sorted(plugins)))
    theme, images = themes.describe_files(there.themes)
    return Held(record, TenantFolder(file, plugins, there.policy, theme, images), there.touches)


def _order(
    folder: TenantFolder, looks: Mapping[str, BrandTheme], tenant_id: int, entries: Iterable[PlanEntry]
) -> TenantOrder:
    gone = [entry.path.split(".") for entry in entries if entry.action == "-"]
    return TenantOrder(
        tenant_id=tenant_id,
        slug=folder.tenant.slug,
        cell=folder.tenant.cell,
        locality=folder.tenant.locality,
        currencies=folder.tenant.currencies,
        plugins=folder.plugins,
        packs=folder.tenant.packs,
        policy=folder.policy,
        themes=looks,
        leaving_brands=tuple(sorted({path[1] for path in gone if path[0] == "brands"})),
        leaving_currencies=tuple(sorted(path[1] for path in gone if path[0] == "currencies")),
    )


async def reserve(deployment: Deployment, folder: TenantFolder) -> None:
    """Give the tenant its number in control; it does not serve yet."""
    async with deployment.control.transaction() as session:
        await tenancy.ensure_cell(session, deployment.place_of(folder.tenant), deployment.by)
        await tenancy.reserve_tenant(session, folder.tenant, deployment.by)


async def prepare(deployment: Deployment, folder: TenantFolder) -> None:
    """Open the tenant's books, enable its plugins and apply its policy in the cell."""
    async with deployment.control.transaction() as session:
        record = await tenancy.get_tenant(session, folder.tenant.slug)
    cell = deployment.reach(deployment.place_of(folder.tenant))
    looks = deployment.workshop.read_themes(folder)
    await cell.prepare(_order(folder, looks, record.tenant_id, ()), deployment.by)


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
        await deployment.reach(deployment.place_of(folder.tenant)).store_directory(published)


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
