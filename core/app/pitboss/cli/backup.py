"""`pitboss backup`: copy a cell's cluster, look after the copies, and bring one back to prove that it can be done."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import msgspec

from pitboss.audit.errors import ProofUnavailable
from pitboss.cli.cell import get_scope, open_cell
from pitboss.cli.ledger import prove_tenants
from pitboss.kernel.clock import utc_now
from pitboss.permissions.service import deployment_command
from pitboss.platform.backup import (
    BackupFolder,
    Cluster,
    Exercise,
    ExerciseFinding,
    Owner,
    Plan,
    Register,
    Replay,
    make_base,
    plan_restore,
    restore,
    slot_of,
    verify_backup,
)
from pitboss.platform.db import parse_url
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.settings import Settings, load_settings, require, require_all
from pitboss_sdk.errors import PitbossError

RECOVERY_POINT_SECONDS: Final = 5
RECOVERY_TIME_SECONDS: Final = 15 * 60
_DAYS_TO_MEND: Final = 30


def _read_target(_context: click.Context, _parameter: click.Parameter, value: str) -> datetime | None:
    """Return a moment; None for `latest`."""
    return None if value == "latest" else _read_moment(_context, _parameter, value)


def _read_moment(_context: click.Context, _parameter: click.Parameter, value: str) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("a moment (ISO 8601), such as 2026-11-21T14:00:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group("backup")
def backup() -> None:
    """Copy a cell, and bring it back as it was at a moment."""


@backup.command("base")
@deployment_command("platform.backup.edit")
def base_command() -> None:
    """Make a base backup of the cell's cluster while it works; `pitboss archive` adds what follows."""
    settings = load_settings()
    require_all(settings, "backup_database_url", "backup_dir")
    cluster = Cluster(require(settings, "backup_database_url"), slot_of(settings.cell))
    made = make_base(_folder(settings), cluster, shared_allowed=settings.environment != "production")
    click.echo(f"backup {made.backup_id}: {made.files} files, {made.size_bytes // 2**20} MiB")
    if made.databases > 1:
        click.echo(f"the cluster holds {made.databases} databases, and so does the backup: production refuses that")


@backup.command("list")
@deployment_command("platform.backup.view")
def list_command() -> None:
    """List the whole backups of the cell, oldest first, and how far the log has come."""
    folder = _folder(load_settings())
    folder.check_owner()
    for place, each in folder.backups():
        facts = f"{each.size_bytes // 2**20} MiB, timeline {each.timeline}, {len(place.segments())} segments of log"
        click.echo(f"{each.backup_id}  ended {_moment(each.ended_at)}  {facts}")
    for place in folder.incarnations():
        status = place.read_status()
        if status is not None:
            click.echo(f"{place.folder.name}: the log is whole until {_moment(status.caught_up_at)}")


@backup.command("verify")
@deployment_command("platform.backup.view")
def verify_command() -> None:
    """Read every backup and the log after it and compare each file's SHA-256; exit with 1 on a finding."""
    folder = _folder(load_settings())
    folder.check_owner()
    findings: list[str] = []
    for place, each in folder.backups():
        found = verify_backup(place, each)
        click.echo(f"{each.backup_id}: {'damaged' if found else 'as it was written'}")
        findings += found
    for finding in dict.fromkeys(findings):
        click.echo(finding)
    sys.exit(1 if findings else 0)


@backup.command("prune")
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many of the newest backups stay.")
@deployment_command("platform.backup.delete")
def prune_command(keep: int) -> None:
    """Delete older backups, and the log that only they need."""
    folder = _folder(load_settings())
    folder.check_owner()
    folder.lock.acquire()
    try:
        ids, segments = folder.prune(keep)
    finally:
        folder.lock.release()
    click.echo(f"deleted {len(ids)} backups and {segments} segments of the log")


@backup.command("exercises")
@deployment_command("platform.backup.view")
def exercises_command() -> None:
    """List what was restored so far; exit with an error if the register is not what was written."""
    for exercise, digest in _register(load_settings()).list():
        point = exercise.recovery_point_seconds
        reached = f"{point:.1f} s lost, " if point is not None else ""
        verdict = "passed" if exercise.passed else f"NOT passed, {len(exercise.findings)} findings"
        click.echo(
            f"{exercise.exercise_id}  {exercise.cell}  {exercise.scenario}: {reached}"
            f"back after {exercise.recovery_time_seconds:.0f} s, {verdict}  {digest[:16]}"
        )


class Ask(msgspec.Struct, frozen=True):
    """What the one who restores says of it."""

    scenario: str
    lost_at: datetime | None
    owner: str
    due_on: date


@backup.command("restore")
@click.option("--to", "target", required=True, callback=_read_target, help="A moment (ISO 8601), or `latest`.")
@click.option("--scratch", type=click.Path(path_type=Path), required=True, help="Folder of the scratch server; new.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the scratch server; by default a free one.")
@click.option("--scenario", default="exercise", show_default=True, help="What is exercised, in a few words.")
@click.option("--lost-at", default="", callback=_read_moment, help="When the cell was lost; by default now.")
@click.option("--owner", default="unassigned", show_default=True, help="Who sees to what is found.")
@click.option("--due", type=click.DateTime(["%Y-%m-%d"]), help="Until when; by default in 30 days.")
@click.option("--serve", is_flag=True, help="Keep the scratch server up until Ctrl-C.")
@click.option("--discard", is_flag=True, help="Delete the restored data at the end.")
@deployment_command("platform.backup.reveal")
def restore_command(
    target: datetime | None,
    scratch: Path,
    port: int | None,
    scenario: str,
    lost_at: datetime | None,
    owner: str,
    due: datetime | None,
    *,
    serve: bool,
    discard: bool,
) -> None:
    """Restore the cell onto a scratch server, prove its books there, and enter that in the register of exercises.

    Exits with 1 when something was found or a goal was missed.
    """
    if scratch.exists() and (not scratch.is_dir() or any(scratch.iterdir())):
        raise click.UsageError(f"{scratch} is not empty, and may be deleted when it is done with: name a new folder")
    settings = load_settings()
    require_all(settings, "backup_dir", "cell_database_url", "context_keys", "directory_public_keys")
    ask = Ask(scenario, lost_at, owner, due.date() if due else utc_now().date() + timedelta(days=_DAYS_TO_MEND))
    begun_at, begun = utc_now(), time.monotonic()
    plan = plan_restore(_folder(settings), target)
    server, replay = restore(plan, scratch, port, click.echo)
    try:
        proof = _prove(settings, server)
        took = time.monotonic() - begun
        exercise = _judge(settings, ask, plan, replay, proof, begun_at, took)
        digest = _register(settings).add(exercise)
        _print(exercise, digest)
        if serve:
            click.echo(f"the scratch server listens on 127.0.0.1:{server.port} until Ctrl-C")
            _wait()
    finally:
        server.stop()
        if discard:
            server.remove()
    if not discard:
        click.echo(
            f"the restored data are in {server.data}: they hold personal data, delete them when they are done with"
        )
    sys.exit(0 if exercise.passed else 1)


class Proof(msgspec.Struct, frozen=True):
    """What the restored database was asked to prove, and what it could not."""

    evidence: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def _prove(settings: Settings, server: PostgresServer) -> Proof:
    """Prove every tenant's books and audit log on the scratch server; that it could not be done is a fault too."""
    url = parse_url(require(settings, "cell_database_url")).set(host="127.0.0.1", port=server.port, query={})
    there = msgspec.structs.replace(settings, cell_database_url=url.render_as_string(hide_password=False))
    try:
        proofs = asyncio.run(prove_tenants(there))
        logs = asyncio.run(_prove_logs(there, [proof.tenant for proof in proofs]))
    except (PitbossError, OSError) as error:
        return Proof(faults=(f"books and logs could not be proved: {error}",))
    wallets, bookings = sum(each.wallets for each in proofs), sum(each.bookings for each in proofs)
    books = f"ledger: {len(proofs)} tenants, {wallets} wallets, {bookings} bookings replayed"
    found = [f"{each.tenant}: {one.check}: {one.subject}: {one.detail}" for each in proofs for one in each.findings]
    if not proofs:
        found.append("there is no tenant whose books could be proved")
    return Proof((books, *logs.evidence), (*found, *logs.faults))


async def _prove_logs(settings: Settings, slugs: list[str]) -> Proof:
    """Compute each tenant's audit log anew and hold its roots against the checkpoints that were signed."""
    from pitboss.audit.runtime import list_faults, read_last_note

    evidence: list[str] = []
    faults: list[str] = []
    async with open_cell(settings) as (database, directory):
        for slug in slugs:
            scope = get_scope(directory, slug)
            async with database.snapshot(scope) as session:
                try:
                    faults += [f"{slug}: audit log: {each}" for each in await list_faults(session, scope)]
                    _, size, root, *_ = (await read_last_note(session, scope)).split("\n")
                    evidence.append(f"audit log of {slug}: {size} entries lead to the last checkpoint, root {root}")
                except ProofUnavailable:
                    evidence.append(f"audit log of {slug}: there is no checkpoint yet to hold a root against")
    return Proof(tuple(evidence), tuple(faults))


def _judge(
    settings: Settings,
    ask: Ask,
    plan: Plan,
    replay: Replay,
    proof: Proof,
    begun_at: datetime,
    took: float,
) -> Exercise:
    lost_at = ask.lost_at or begun_at
    found = list(proof.faults)
    if replay.missing_bytes:
        found.append(f"the replay ended at {replay.ended_at}, {replay.missing_bytes} bytes before what was received")
    point = _recovery_point(plan, replay, lost_at) if plan.target is None else None
    if point is None and plan.target is None:
        found.append("nobody can know how much is missing: no transaction was replayed and nobody looked at the log")
    if point is not None and point > RECOVERY_POINT_SECONDS:
        found.append(f"up to {point:.1f} s before the loss are missing, {RECOVERY_POINT_SECONDS} were aimed at")
    if took > RECOVERY_TIME_SECONDS:
        found.append(f"it took {took:.0f} s, {RECOVERY_TIME_SECONDS} were aimed at")
    evidence = [
        f"SHA-256 of each of {plan.backup.files} files of the backup compared while they were copied;"
        f" list {plan.backup.sums_sha256}",
        f"{len(plan.segments)} whole segments of the log, from {plan.backup.first_segment}; replay ended at {replay.ended_at}",
        *proof.evidence,
    ]
    if plan.backup.databases > 1:
        evidence.append(f"the cluster is shared: the scratch server held {plan.backup.databases} databases")
    return Exercise(
        exercise_id=f"{settings.cell}-{begun_at:%Y%m%dT%H%M%S%fZ}",
        begun_at=begun_at,
        cell=settings.cell,
        locality=settings.locality,
        scenario=ask.scenario,
        backup_id=plan.backup.backup_id,
        asked_for=_moment(plan.target) if plan.target else "latest",
        lost_at=lost_at,
        recovered_to=replay.last_commit_at,
        recovery_point_goal_seconds=RECOVERY_POINT_SECONDS,
        recovery_point_seconds=point,
        recovery_time_goal_seconds=RECOVERY_TIME_SECONDS,
        recovery_time_seconds=took,
        evidence=tuple(evidence),
        findings=tuple(ExerciseFinding(each, ask.owner, ask.due_on) for each in found),
    )


def _recovery_point(plan: Plan, replay: Replay, lost_at: datetime) -> float | None:
    """Return how many seconds before the loss may be missing at most; None if nobody can know.

    Everything is there up to the last transaction that was replayed, and up to the moment at which the archive was
    known to hold all, provided that the replay came that far.
    """
    known = [replay.last_commit_at] if replay.last_commit_at else []
    if plan.status is not None and not replay.missing_bytes:
        known.append(plan.status.caught_up_at)
    return max(0.0, (lost_at - max(known)).total_seconds()) if known else None


def _print(exercise: Exercise, digest: str) -> None:
    for line in exercise.evidence:
        click.echo(line)
    for finding in exercise.findings:
        click.echo(f"FOUND: {finding.what} (owner: {finding.owner}, due: {finding.due_on})")
    point = exercise.recovery_point_seconds
    lost = f"at most {point:.1f} s lost (goal {exercise.recovery_point_goal_seconds} s), " if point is not None else ""
    click.echo(
        f"exercise {exercise.exercise_id} {'passed' if exercise.passed else 'NOT passed'}: {lost}back after"
        f" {exercise.recovery_time_seconds:.1f} s (goal {exercise.recovery_time_goal_seconds} s)"
    )
    click.echo(f"entered in the register, SHA-256 {digest}")


def _wait() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("stopping")


def _folder(settings: Settings) -> BackupFolder:
    return BackupFolder(require(settings, "backup_dir"), Owner(settings.cell, settings.locality))


def _register(settings: Settings) -> Register:
    return Register(settings.state_dir.absolute() / "exercises")


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
