"""Bringing a backup back onto a scratch server, as it was at a moment or as late as the log goes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from pitboss.platform.backup.errors import BackupDamaged, BackupFailed, BackupMissing
from pitboss.platform.backup.folder import (
    SUMS,
    ArchiveStatus,
    Backup,
    BackupFolder,
    Incarnation,
    check_base,
    copy_checked,
    read_sums,
)
from pitboss.platform.backup.programs import explain
from pitboss.platform.backup.segments import PARTIAL, is_segment, name_of, number_of, read_position
from pitboss.platform.embedded import POSTGRES_MAJOR, PostgresServer, ServerFailed
from pitboss.platform.embedded.binaries import Report

_REPLAY_SECONDS: Final = 6 * 3600
_PASSWORD: Final = "that of the cluster which was backed up"  # noqa: S105 - says that it is not known here
"""What stands in the file of the scratch server's superuser password, which nobody here knows."""
_UNSEALED: Final = 2
"""Whole segments that a receiver may leave unhashed when it is killed; the checksums of records still hold for them."""
_LEFT: Final = re.compile(r"^\d+\t([0-9A-F]+/[0-9A-F]+)\t", re.MULTILINE)
_LAST: Final = re.compile(r"last completed transaction was at log time (\S+ \S+)")
_TOO_SHORT: Final = "recovery ended before configured recovery target was reached"

_HBA: Final = "host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n"
"""Who may connect to a restored cluster: whoever could before, from this machine only."""
_CONFIGURATION: Final = "# Of the scratch server; that of the cluster is in postgresql.conf.of-backup.\n"
_OF_CLUSTER: Final = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
"""Files that may name commands, folders and machines of the cluster; kept, but never in force on a scratch server."""


class Plan(msgspec.Struct, frozen=True):
    """What a restore will use: one backup, the log after it, and the moment to stop at (None: as late as it goes)."""

    place: Incarnation
    backup: Backup
    segments: tuple[str, ...]
    partial: str | None
    target: datetime | None
    status: ArchiveStatus | None


class Replay(msgspec.Struct, frozen=True):
    """What PostgreSQL said about its replay.

    `missing_bytes` is what the archive is known to have received beyond the end of a replay without a target.
    """

    last_commit_at: datetime | None
    ended_at: str
    missing_bytes: int


def plan_restore(folder: BackupFolder, target: datetime | None) -> Plan:
    """Choose the newest whole backup that ended before `target`; raise `BackupMissing` or `BackupDamaged`."""
    folder.check_owner()
    backups = [(place, each) for place, each in folder.backups() if target is None or each.ended_at <= target]
    if not backups:
        oldest = min((each.ended_at for _, each in folder.backups()), default=None)
        known = f"the oldest whole one ended at {oldest:%Y-%m-%dT%H:%M:%S%z}" if oldest else "there is no whole one"
        raise BackupMissing(f"no backup in {folder.folder} leads there: {known}")
    place, backup = backups[-1]
    if backup.server_version != POSTGRES_MAJOR:
        raise BackupFailed(
            f"backup {backup.backup_id} is of PostgreSQL {backup.server_version}, here is {POSTGRES_MAJOR}:"
            " restore it where its version is"
        )
    # How far the log has come is read before the log: what is copied is never less.
    status = place.read_status()
    segments = place.log_since(backup.first_segment)
    partial = place.partial()
    if partial is not None and (partial[:8] != backup.first_segment[:8] or partial < (segments or [""])[-1]):
        partial = None
    return Plan(place, backup, tuple(segments), partial, target, status)


def restore(plan: Plan, scratch: Path, port: int | None, report: Report) -> tuple[PostgresServer, Replay]:
    """Fill a scratch server from a plan, replay and start it; the caller stops it.

    Raise `BackupDamaged` before anything is started if a file is not the one that was written, `BackupMissing` if
    the log ends before the moment that was asked for.
    """
    server = PostgresServer(
        scratch, port, _options(plan, with_target=True), report=report, start_seconds=_REPLAY_SECONDS
    )
    try:
        server.adopt(lambda data: _fill(data, plan, report), _PASSWORD)
    except OSError as error:
        raise BackupFailed(explain("restore", str(error), scratch)) from None
    report("replaying the log")
    try:
        server.start()
    except ServerFailed:
        if _TOO_SHORT not in server.log.read_text(errors="replace"):
            raise
        try:
            server = _start_at_the_end(plan, scratch, port, report)
        except BackupMissing:
            server.remove()  # personal data that lead nowhere, in the way of the next restore
            raise
    try:
        return server, _read_log(plan, server)
    except BaseException:
        server.stop()
        raise


def _start_at_the_end(plan: Plan, scratch: Path, port: int | None, report: Report) -> PostgresServer:
    """Start without a target, since no transaction ended after it; raise `BackupMissing` if nobody knows that."""
    if plan.target is None or plan.status is None or plan.status.caught_up_at < plan.target:
        known = f"the archive is known to be whole until {plan.status.caught_up_at.isoformat()}" if plan.status else ""
        raise BackupMissing(
            f"the log ends before the moment that was asked for; {known or 'nobody knows how far it goes'}"
        )
    server = PostgresServer(
        scratch, port, _options(plan, with_target=False), report=report, start_seconds=_REPLAY_SECONDS
    )
    server.start()
    return server


def _options(plan: Plan, *, with_target: bool) -> dict[str, str]:
    options = {
        "shared_buffers": "128MB",
        # The log is beside the data already, checked; there is nothing to fetch.
        "restore_command": "false",
        "recovery_target_timeline": "current",
        "recovery_target_action": "promote",
        "hot_standby": "off",
        "archive_mode": "off",
        "log_min_messages": "warning",
    }
    if with_target and plan.target is not None:
        options["recovery_target_time"] = plan.target.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        options["recovery_target_inclusive"] = "off"
    return options


def _fill(data: Path, plan: Plan, report: Report) -> None:
    source = plan.place.place_of(plan.backup)
    sums = check_base(source, plan.backup)
    report(f"copying backup {plan.backup.backup_id}: {len(sums)} files, {plan.backup.size_bytes // 2**20} MiB")
    for folder in sorted(path for path in (source / "data").rglob("*") if path.is_dir()):
        (data / folder.relative_to(source / "data")).mkdir(mode=0o700)
    for name, digest in sums.items():
        copy_checked(source / "data" / name, data / name, digest)
        (data / name).chmod(0o600)
    _add_log(data / "pg_wal", plan, report)
    for name in _OF_CLUSTER:
        if (data / name).exists():
            (data / name).rename(data / f"{name}.of-backup")
    (data / "postgresql.conf").write_text(_CONFIGURATION)
    (data / "pg_hba.conf").write_text(_HBA)
    (data / "pg_ident.conf").write_text("")
    (data / "recovery.signal").write_text("")


def _add_log(target: Path, plan: Plan, report: Report) -> None:
    """Put the archived log behind the part that the backup holds, with nothing missing between."""
    held = sorted(path.name for path in target.iterdir() if is_segment(path.name))
    last = number_of(held[-1])
    chain = [*plan.segments, *([plan.partial] if plan.partial else [])]
    following = [name for name in chain if number_of(name) > last]
    if following and number_of(following[0]) != last + 1:
        missing = name_of(plan.backup.timeline, last + 1)
        raise BackupDamaged(f"{plan.place.wal}: the segment {missing} is missing, so nothing after it can be used")
    report(f"copying {len(following)} segments of the log")
    sums = read_sums(plan.place.wal / SUMS) if (plan.place.wal / SUMS).exists() else {}
    unsealed = [name for name in following if name != plan.partial and name not in sums]
    if len(unsealed) > _UNSEALED:
        raise BackupDamaged(f"{plan.place.wal / unsealed[0]}: nobody wrote down its SHA-256")
    for name in following:
        partial = name == plan.partial
        # One that grew whole meanwhile lost its ending; it is then hashed by nobody yet, and its records still are.
        source = plan.place.wal / (f"{name}{PARTIAL}" if partial else name)
        if partial and not source.exists():
            source = plan.place.wal / name
        copy_checked(source, target / name, None if partial else sums.get(name))


def _read_log(plan: Plan, server: PostgresServer) -> Replay:
    lines = server.log.read_text(errors="replace").splitlines()
    times = [found[1] for line in lines if (found := _LAST.search(line))]
    last = datetime.fromisoformat(times[-1].replace("+00", "+00:00")) if times else None
    # Where the history of the scratch server leaves that of the cluster is where the replay ended.
    history = (server.data / "pg_wal" / f"{plan.backup.timeline + 1:08X}.history").read_text()
    ended_at = _LEFT.findall(history)[-1]
    missing = 0
    if plan.target is None and plan.status is not None:
        missing = max(0, read_position(plan.status.archived_to) - read_position(ended_at))
    return Replay(last, ended_at, missing)
