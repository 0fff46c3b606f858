"""Reading a backup and the log after it to the end, without using either."""

from __future__ import annotations

from itertools import pairwise

from pitboss.platform.backup.errors import BackupDamaged
from pitboss.platform.backup.folder import SUMS, Backup, Incarnation, check_base, check_file, digest_of, read_sums
from pitboss.platform.backup.segments import is_segment, number_of


def verify_backup(place: Incarnation, backup: Backup) -> list[str]:
    """Return what is wrong with a backup and with the log after it; empty if a restore would take all of it."""
    folder = place.place_of(backup)
    findings: list[str] = []
    try:
        for name, digest in check_base(folder, backup).items():
            if digest_of(folder / "data" / name) != digest:
                findings.append(f"{folder / 'data' / name} is not the file that was written: its SHA-256 differs")
    except BackupDamaged as error:
        findings.append(error.detail)
    try:
        segments = place.log_since(backup.first_segment)
    except BackupDamaged as error:
        return [*findings, error.detail]
    sums = read_sums(place.wal / SUMS) if (place.wal / SUMS).exists() else {}
    for name in segments:
        try:
            if name in sums:
                check_file(place.wal / name, sums[name])
        except BackupDamaged as error:
            findings.append(error.detail)
    partial = place.partial()
    chain = [*segments, *([partial] if partial is not None and partial > (segments or [""])[-1] else [])]
    held = [path.name for path in (folder / "data" / "pg_wal").iterdir() if is_segment(path.name)]
    behind = [name for name in chain if held and name > max(held)]
    if behind:
        findings += [
            f"{place.wal}: there is a hole between {before} and {after}"
            for before, after in pairwise([max(held), *behind])
            if number_of(after) != number_of(before) + 1
        ]
    return findings
