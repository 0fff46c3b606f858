"""Copies of a cell's PostgreSQL cluster: base backups, the stream of its write-ahead log, and restoring from both."""

from pitboss.platform.backup.copying import Receiver, make_base
from pitboss.platform.backup.errors import BackupDamaged, BackupFailed, BackupMissing, BackupRefused
from pitboss.platform.backup.exercises import Exercise, ExerciseFinding, Register
from pitboss.platform.backup.folder import Backup, BackupFolder, Incarnation, Owner
from pitboss.platform.backup.programs import Cluster, slot_of
from pitboss.platform.backup.restoring import Plan, Replay, plan_restore, restore
from pitboss.platform.backup.verifying import verify_backup

__all__ = [
    "Backup",
    "BackupDamaged",
    "BackupFailed",
    "BackupFolder",
    "BackupMissing",
    "BackupRefused",
    "Cluster",
    "Exercise",
    "ExerciseFinding",
    "Incarnation",
    "Owner",
    "Plan",
    "Receiver",
    "Register",
    "Replay",
    "make_base",
    "plan_restore",
    "restore",
    "slot_of",
    "verify_backup",
]
