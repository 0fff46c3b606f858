"""Exports: asked for, made by a worker, fetched while they are there, removed when they are over."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit.contracts import Change
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import FieldPlace
from pitboss.keys.errors import FieldUnreadable, SubjectErased
from pitboss.keys.service import KeyRing
from pitboss.platform.outbox import enqueue
from pitboss.subjects import rules, store
from pitboss.subjects.contracts import EXPORT_JOB, EXPORT_LIFETIME, Case, CaseKind, CaseState, Export, Folder
from pitboss.subjects.errors import ExportNotFound
from pitboss.subjects.service.cases import demand_at_work, get_case, note_effect, record
from pitboss.subjects.service.held import collect_held

SWEEP_ROWS: Final = 100
_FIXED: Final = (2020, 1, 1, 0, 0, 0)
"""The moment of each file in an archive: when it was made stands in the document."""


async def ask_export(
    session: AsyncSession, scope: TenantScope, case_id: UUID, *, actor: Actor, origin: Origin
) -> Export:
    """Leave a job behind that makes the export of a case; one that is being made or is there is returned instead.

    Raises `CaseNotFound`, `StepRefused`.
    """
    case = await demand_at_work(session, scope, case_id, CaseKind.ACCESS, CaseKind.PORTABILITY)
    now = utc_now()
    for found in await store.fetch_exports(session, scope, case_id):
        if found.removed_at is None and now < found.expires_at:
            return found
    export_id = uuid4()  # of chance alone: nobody may guess it from another
    await store.insert_export(session, scope, export_id, case.case_id, EXPORT_LIFETIME)
    await enqueue(session, scope, EXPORT_JOB, {"export_id": str(export_id)})
    changes = (Change("case", None, str(case_id)),)
    await record(session, scope, "subject_export.asked", export_id, changes, actor=actor, origin=origin)
    made = await store.fetch_export(session, scope, export_id)
    if made is None:
        raise AssertionError("an insert is seen by its own transaction")
    return made


async def list_exports(session: AsyncSession, scope: TenantScope, case_id: UUID) -> list[Export]:
    """Return the exports of a case, newest first."""
    return await store.fetch_exports(session, scope, case_id)


async def make_export(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    metadata: MetaData,
    folder: Folder,
    export_id: UUID,
    *,
    actor: Actor,
    origin: Origin,
) -> bool:
    """Collect, seal and write the file of an export; False when it was made or is over.

    The file is sealed under the subject's own key, so that an erasure reaches it. It is written before the commit: one
    that no row tells of is replaced when the job runs again.
    """
    export = await store.fetch_export(session, scope, export_id, lock=True)
    if export is None or export.made_at is not None or export.removed_at is not None:
        return False
    case = await get_case(session, scope, export.case_id)
    if case.state is not CaseState.IN_PROGRESS:
        return False
    player = await accounts.get_player(session, scope, case.player)
    subject, held = await collect_held(session, scope, ring, metadata, player)
    compose = rules.compose_access if case.kind is CaseKind.ACCESS else rules.compose_portable
    files = compose(subject, held, tenant=scope.slug, language=player.language, made_at=utc_now())
    content = _pack(files)
    (sealed,) = await keys.seal_fields(session, scope, ring, [(_place(case, export_id), content)])
    folder.put(_name(export_id), sealed)
    await store.update_made(session, scope, export_id, size_bytes=len(content), sha256=sha256(content).digest())
    changes = (Change("case", None, str(case.case_id)), Change("tables", None, len(held)))
    await record(session, scope, "subject_export.made", export_id, changes, actor=actor, origin=origin)
    return True


async def fetch_file(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    folder: Folder,
    export_id: UUID,
    *,
    actor: Actor,
    origin: Origin,
) -> bytes:
    """Return the archive of an export, and record that somebody has it now; raise `ExportNotFound`.

    The edge asks for the permission each time: a name that was told once opens nothing by itself. Handing it out is
    what completes a case of access.
    """
    export = await store.fetch_export(session, scope, export_id)
    sealed = folder.get(_name(export_id)) if export is not None and export.is_there(utc_now()) else None
    if export is None or sealed is None:
        raise ExportNotFound("there is no such export")
    case = await get_case(session, scope, export.case_id, lock=True)
    try:
        (content,) = await keys.open_fields(
            session, scope, ring, [(_place(case, export_id), sealed)], despite_restriction=True
        )
    except (SubjectErased, FieldUnreadable):
        raise ExportNotFound("there is no such export") from None
    if not compare_digest(sha256(content).digest(), export.sha256):
        raise ExportNotFound("there is no such export")
    await note_effect(session, scope, case)
    changes = (Change("case", None, str(case.case_id)),)
    await record(session, scope, "subject_export.fetched", export_id, changes, actor=actor, origin=origin)
    return content


async def sweep_exports(
    session: AsyncSession, scope: TenantScope, folder: Folder, now: datetime, *, actor: Actor, origin: Origin
) -> int:
    """Remove the files of exports that are over; return how many there were."""
    over = await store.fetch_over(session, scope, now, SWEEP_ROWS)
    for export in over:
        folder.remove(_name(export.export_id))
        await store.update_removed(session, scope, export.export_id)
        await record(session, scope, "subject_export.removed", export.export_id, actor=actor, origin=origin)
    return len(over)


def _place(case: Case, export_id: UUID) -> FieldPlace:
    return FieldPlace(case.player, "subject_export", "file", str(export_id))


def _name(export_id: UUID) -> str:
    return f"{export_id.hex}.sealed"


def _pack(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _FIXED), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
