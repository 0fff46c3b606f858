"""Use cases of the register: read tenants' files, reserve, configure and publish; each change is audited."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_control_event
from pitboss.directory.contracts import SignedSnapshot, SigningKey, TenantState
from pitboss.tenancy import rules, store
from pitboss.tenancy.contracts import (
    MAX_FILE_BYTES,
    MAX_FOLDER_BYTES,
    By,
    CellPlace,
    Facts,
    Offer,
    Plan,
    PlanEntry,
    Problem,
    TenantFile,
    TenantFolder,
    TenantRecord,
)
from pitboss.tenancy.errors import CellUnknown, ChangeRefused, FolderExists, TenantFilesInvalid, TenantNotFound


def list_folders(tenants_dir: Path) -> list[str]:
    """Return the tenants that have a folder; names that begin with a dot are none."""
    return sorted(path.name for path in tenants_dir.iterdir() if path.is_dir() and not path.name.startswith("."))


def check_folder(tenants_dir: Path, slug: str, offer: Offer) -> tuple[TenantFolder | None, list[Problem]]:
    """Read a tenant's files; return them, unless they cannot be understood, and everything that is wrong.

    Other tenants' files are read for what they claim: a domain and a public id belong to one tenant.
    """
    files, unread = _read_files(tenants_dir / slug)
    folder, problems = check_files(tenants_dir, slug, files, offer)
    return folder, sorted([*problems, *unread])


def check_files(
    tenants_dir: Path, slug: str, files: Mapping[str, bytes], offer: Offer
) -> tuple[TenantFolder | None, list[Problem]]:
    """Do what `check_folder` does with files that are not written yet."""
    folder, problems = rules.parse_files(slug, files)
    claims = {other: _claims(tenants_dir / other / "tenant.toml") for other in list_folders(tenants_dir)}
    own = rules.claims_of(files.get("tenant.toml", b""))
    problems += rules.find_clashes(slug, own, claims)
    if folder is not None:
        problems += rules.find_tenant_problems(slug, folder.tenant, offer)
    return folder, sorted(problems)


def _read_files(folder: Path) -> tuple[dict[str, bytes], list[Problem]]:
    """Return the files of a folder, and why some were not read; nothing outside of it is ever read."""
    home = folder.resolve()
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or (path.is_dir() and not path.is_symlink()):
            continue
        try:
            target = path.resolve()
        except (OSError, RuntimeError):  # links in a circle
            target = home
        if not target.is_relative_to(home):
            reason = "leads out of the folder"
        elif target.is_dir():
            reason = "leads to no file"
        elif not target.is_file():
            reason = "is no plain file"
        elif target.stat().st_size > MAX_FILE_BYTES:
            reason = f"is larger than {MAX_FILE_BYTES // 1024} KiB"
        elif sum(map(len, files.values())) + target.stat().st_size > MAX_FOLDER_BYTES:
            reason = f"with it the folder is larger than {MAX_FOLDER_BYTES // 1024} KiB"
        else:
            files[name] = target.read_bytes()
            continue
        problems.append(Problem(f"{folder.name}/{name}", "", reason))
    return files, problems


def render_folder(folder: TenantFolder) -> dict[str, bytes]:
    """Return the files that say what `folder` holds, by their names."""
    return rules.render_folder(folder)


def write_folder(tenants_dir: Path, slug: str, files: Mapping[str, bytes], *, replace: bool = False) -> Path:
    """Write a tenant's folder, whole or not at all; raise `FolderExists` unless it may be replaced.

    Raises `TenantFilesInvalid` for a name that leads out of the folder, whoever gave it.
    """
    target, fresh, old = tenants_dir / slug, tenants_dir / f".{slug}.new", tenants_dir / f".{slug}.old"
    if old.exists() and not target.exists():  # a replacement was cut off, and this is the only copy
        old.rename(target)
    if not replace and (target.exists() or target.is_symlink()):
        raise FolderExists(f"{target} exists; nothing was written")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    _refuse_ways_out(tenants_dir.resolve() / fresh.name, slug, files)
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _refuse_ways_out(home: Path, slug: str, names: Iterable[str]) -> None:
    """Raise unless each name is of a file below `home`, which is not there yet."""
    problems = [
        Problem(f"{slug}/{name}", "", "leads out of the folder")
        for name in names
        if ".." in Path(name).parts or home not in (home / name).resolve().parents
    ]
    if problems:
        raise TenantFilesInvalid(problems)


def _claims(file: Path) -> Mapping[str, str]:
    return rules.claims_of(file.read_bytes()) if file.is_file() else {}


async def find_tenant(session: AsyncSession, slug: str) -> TenantRecord | None:
    """Return a tenant as control holds it."""
    found = await store.fetch_tenants(session, slug)
    return found[0] if found else None


async def get_tenant(session: AsyncSession, slug: str) -> TenantRecord:
    """Return a tenant as control holds it; raise `TenantNotFound`."""
    found = await find_tenant(session, slug)
    if found is None:
        raise TenantNotFound(f"tenant {slug} is not registered")
    return found


def file_from_record(record: TenantRecord) -> TenantFile:
    """Return the `tenant.toml` that says what control holds; what stands in no file is its number and its state."""
    return rules.file_from_record(record)


def record_from_file(tenant: TenantFile) -> TenantRecord:
    """Return what control is to hold of a tenant once its files are applied; its number is not known here."""
    return rules.record_from_files(tenant)


async def list_tenants(session: AsyncSession) -> list[TenantRecord]:
    """Return all tenants by slug; the register is small and read whole."""
    return await store.fetch_tenants(session)


async def list_cells(session: AsyncSession) -> list[CellPlace]:
    """Return all cells by name."""
    return list((await store.fetch_cells(session)).values())


async def find_published(session: AsyncSession, cell: str) -> SignedSnapshot | None:
    """Return the newest snapshot that control signed for `cell`."""
    return await store.find_published(session, cell)


async def plan_tenant(session: AsyncSession, tenant: TenantFile, place: CellPlace, key: SigningKey) -> Plan:
    """Return what an apply would change in control, and why it may not."""
    actual = await find_tenant(session, tenant.slug)
    wanted = rules.merge_record(tenant, actual)
    refusals = rules.find_refusals(tenant, actual)
    holder = await store.find_slug_of_public_id(session, tenant.public_id)
    if holder not in {None, tenant.slug}:
        refusals.append(f"public_id {tenant.public_id} belongs to tenant {holder}")
    owners = await store.fetch_domain_owners(session, [domain for brand in wanted.brands for domain in brand.domains])
    refusals += [
        f"domain {domain} belongs to tenant {owner}" for domain, owner in sorted(owners.items()) if owner != tenant.slug
    ]
    entries = rules.diff_facts(rules.facts_of(actual), rules.facts_of(wanted))
    cells = await store.fetch_cells(session)
    if place.cell in cells and cells[place.cell].locality != place.locality:
        refusals.append(f"cell {place.cell} lies in {cells[place.cell].locality}, its file says {place.locality}")
    entries += await _plan_directory(session, wanted, {**cells, place.cell: place}, key)
    return Plan(tenant.slug, tuple(entries), tuple(refusals))


async def _plan_directory(
    session: AsyncSession, wanted: TenantRecord, cells: Mapping[str, CellPlace], key: SigningKey
) -> list[PlanEntry]:
    others = [tenant for tenant in await store.fetch_tenants(session) if tenant.slug != wanted.slug]
    entries: list[PlanEntry] = []
    for cell in cells:
        published = await store.find_published(session, cell)
        content = rules.build_content(cell, [*others, wanted], cells)
        renewed = rules.renew_snapshot(cell, published, content, key)
        if renewed is not None:
            before = published.version if published else None
            entries.append(PlanEntry("~" if before else "+", f"directory.{cell}.published", before, renewed.version))
    return entries


async def ensure_cell(session: AsyncSession, place: CellPlace, by: By) -> None:
    """Enter a cell into the register, or write its new address; a cell's locality never changes."""
    if await store.insert_cell(session, place):
        facts: Facts = {"locality": place.locality, "url": place.address}
        await _record(session, by, "cell.registered", "cell", place.cell, rules.diff_facts({}, facts))
        return
    held = (await store.fetch_cells(session))[place.cell]
    if held.locality != place.locality:
        raise ChangeRefused(f"cell {place.cell} lies in {held.locality}, its file says {place.locality}")
    if held.address != place.address:
        await store.update_cell_address(session, place)
        changes = rules.diff_facts({"url": held.address}, {"url": place.address})
        await _record(session, by, "cell.updated", "cell", place.cell, changes)


async def reserve_tenant(session: AsyncSession, tenant: TenantFile, by: By) -> int:
    """Give a tenant its number and its place, pending; return the number, also when it was reserved before."""
    if tenant.cell not in await store.fetch_cells(session):
        raise CellUnknown(f"cell {tenant.cell} is not registered")
    record = rules.record_from_files(tenant)
    tenant_id = await store.insert_tenant(session, record)
    if tenant_id is None:
        actual = await get_tenant(session, tenant.slug)
        _refuse(rules.find_refusals(tenant, actual))
        return actual.tenant_id
    identity = {path: value for path, value in rules.facts_of(record).items() if path.startswith("tenant.")}
    identity["tenant.state"] = TenantState.PENDING.value
    await _record(session, by, "tenant.reserved", "tenant", tenant.slug, rules.diff_facts({}, identity))
    return tenant_id


async def configure_tenant(session: AsyncSession, tenant: TenantFile, by: By) -> TenantRecord:
    """Make the register what the files say, activate a pending tenant, and return the record.

    Writes and audits the differences alone. Raises `ChangeRefused` and `TenantNotFound`.
    """
    await store.lock_tenant(session, tenant.slug)
    actual = await get_tenant(session, tenant.slug)
    _refuse(rules.find_refusals(tenant, actual))
    wanted = rules.merge_record(tenant, actual)
    entries = rules.diff_facts(rules.facts_of(actual), rules.facts_of(wanted))
    if any(entry.path.split(".")[0] in {"tenant", "currencies", "packs", "plugins"} for entry in entries):
        await store.update_tenant(session, wanted)
    await _write_brands(session, actual, wanted, entries)
    await _record_differences(session, by, tenant.slug, actual, entries)
    return wanted


async def change_state(session: AsyncSession, slug: str, state: TenantState, reason: str, by: By) -> TenantRecord:
    """Suspend, resume or close a tenant and return the record; what it is already is neither written nor audited.

    `reason` is a code. Raises `ChangeRefused` and `TenantNotFound`.
    """
    await store.lock_tenant(session, slug)
    actual = await get_tenant(session, slug)
    refusal = rules.find_state_refusal(actual.state, state)
    if refusal:
        raise ChangeRefused(refusal)
    if actual.state is state:
        return actual
    changed = msgspec.structs.replace(actual, state=state)
    await store.update_tenant(session, changed)
    changes = (Change("tenant.state", actual.state.value, state.value),)
    event = AuditEvent(_STATE_EVENTS[state], by.actor, by.origin, "tenant", slug, changes, reason=reason)
    await record_control_event(session, event)
    return changed


async def place_tenant(
    session: AsyncSession, slug: str, cell: str, state: TenantState, event: str, by: By
) -> TenantRecord:
    """Say where a tenant lives and what it may do while it moves; what is so already is neither written nor audited.

    The steps of a move alone do this. Raises `ChangeRefused` and `TenantNotFound`.
    """
    await store.lock_tenant(session, slug)
    actual = await get_tenant(session, slug)
    if (actual.cell, actual.state) == (cell, state):
        return actual
    if actual.state is not TenantState.MOVING and (state is not TenantState.MOVING or actual.cell != cell):
        raise ChangeRefused(f"tenant {slug} is {actual.state} in cell {actual.cell}, not on its way")
    await store.update_place(session, slug, cell, state)
    facts = [("tenant.cell", actual.cell, cell), ("tenant.state", actual.state.value, state.value)]
    entries = [PlanEntry("~", path, before, after) for path, before, after in facts if before != after]
    await _record(session, by, event, "tenant", slug, entries)
    return msgspec.structs.replace(actual, cell=cell, state=state)


_STATE_EVENTS: Final = {
    TenantState.SUSPENDED: "tenant.suspended",
    TenantState.ACTIVE: "tenant.resumed",
    TenantState.CLOSED: "tenant.closed",
}


async def _write_brands(
    session: AsyncSession, actual: TenantRecord, wanted: TenantRecord, entries: Sequence[PlanEntry]
) -> None:
    touched = {entry.path.split(".")[1] for entry in entries if entry.path.startswith("brands.")}
    for brand in wanted.brands:
        if brand.slug in touched:
            await store.upsert_brand(session, wanted.tenant_id, brand)
    for entry in entries:
        if entry.path.startswith("domains."):
            domain = entry.path.removeprefix("domains.")
            if entry.action == "-":
                await store.delete_domain(session, wanted.tenant_id, domain)
            elif not await store.upsert_domain(session, wanted.tenant_id, domain, entry.after):
                raise ChangeRefused(f"domain {domain} belongs to another tenant")
    for slug in {brand.slug for brand in actual.brands} - {brand.slug for brand in wanted.brands}:
        await store.delete_brand(session, wanted.tenant_id, slug)


async def _record_differences(
    session: AsyncSession, by: By, slug: str, actual: TenantRecord, entries: Sequence[PlanEntry]
) -> None:
    of_tenant = [entry for entry in entries if not entry.path.startswith(("brands.", "domains.", "tenant.state"))]
    if of_tenant:
        await _record(session, by, "tenant.updated", "tenant", slug, of_tenant)
    held = {brand.slug for brand in actual.brands}
    brands = sorted({entry.path.split(".")[1] for entry in entries if entry.path.startswith("brands.")})
    for brand in brands:
        changes = [entry for entry in entries if entry.path.startswith(f"brands.{brand}.")]
        verb = "added" if brand not in held else "removed" if changes[0].action == "-" else "updated"
        await _record(session, by, f"brand.{verb}", "brand", f"{slug}/{brand}", changes)
    verbs = {"+": "added", "~": "updated", "-": "removed"}
    for entry in entries:
        if entry.path.startswith("domains."):
            domain = entry.path.removeprefix("domains.")
            await _record(session, by, f"domain.{verbs[entry.action]}", "domain", domain, [entry])
        elif entry.path == "tenant.state":
            await _record(session, by, "tenant.activated", "tenant", slug, [entry])


async def publish_directories(session: AsyncSession, key: SigningKey, by: By) -> dict[str, int]:
    """Sign a new snapshot for each cell whose directory changed, or was signed by another key; return the versions."""
    await store.lock_cells(session)
    cells = await store.fetch_cells(session)
    tenants = await store.fetch_tenants(session)
    published: dict[str, int] = {}
    for cell in cells:
        before = await store.find_published(session, cell)
        renewed = rules.renew_snapshot(cell, before, rules.build_content(cell, tenants, cells), key)
        if renewed is None:
            continue
        await store.insert_published(session, cell, renewed)
        entry = PlanEntry("~", "version", before.version if before else None, renewed.version)
        await _record(session, by, "directory.published", "directory", cell, [entry])
        published[cell] = renewed.version
    return published


def _refuse(refusals: Sequence[str]) -> None:
    if refusals:
        raise ChangeRefused("; ".join(refusals))


async def _record(
    session: AsyncSession, by: By, event: str, target_type: str, target_id: str, entries: Iterable[PlanEntry]
) -> None:
    changes = tuple(Change(entry.path, entry.before, entry.after) for entry in entries)
    await record_control_event(session, AuditEvent(event, by.actor, by.origin, target_type, target_id, changes))
