"""Tables of the audit log: events as they happen, and in a cell the log that proves them; all but its state only grow."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.kernel.classes import Sort
from pitboss.platform.db import CellBase, ControlBase, Role, table_info


class AuditColumns:
    """What both logs hold; two events of one microsecond are told apart by their ids."""

    event_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    category: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_name: Mapped[str] = mapped_column(Text)
    origin: Mapped[dict[str, Any]] = mapped_column(JSONB)
    target_type: Mapped[str] = mapped_column(Text)
    target_id: Mapped[str] = mapped_column(Text)
    changes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)


class AuditEventRow(AuditColumns, CellBase):
    """An event of one tenant."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_target", "tenant_id", "target_type", "target_id", "occurred_at", "event_id"),
        Index("ix_audit_event_occurred_at", "tenant_id", "occurred_at", "event_id"),
        Index("ix_audit_event_written_in", "tenant_id", "written_in", "event_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "technical": "event_id occurred_at written_in category type outcome target_type",
                    "staff": "actor_kind actor_name origin reason",
                    "opaque": "target_id changes",
                },
                grants={"app": "select, insert", "worker": "select, insert", "seq": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, sort_order=-1)
    written_in: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The transaction that wrote the row, whatever the statement says: a trigger sets it."""


_LOG_GRANTS: Final[dict[Role, str]] = {"app": "select", "seq": "select, insert"}


class LogColumns:
    """Where a log stands."""

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    origin: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    edge: Mapped[bytes] = mapped_column(LargeBinary)
    """The right edge of the tree: all that is needed to append."""
    taken_in: Mapped[int] = mapped_column(BigInteger)
    """Events of earlier transactions are in the log, all of them."""
    taken_id: Mapped[UUID] = mapped_column(Uuid)
    """Those of `taken_in` itself are in the log up to this one."""
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """The key that signs; another takes over by an entry of its own."""
    checkpoint_size: Mapped[int] = mapped_column(BigInteger)
    checkpoint_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class AuditLogRow(LogColumns, CellBase):
    """Where the log of a tenant stands; the only row of evidence that changes, and it holds nothing but hashes."""

    __tablename__ = "audit_log"
    __table_args__ = (
        {
            "info": table_info(
                retention="audit_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "evidence": "origin edge public_key",
                    "technical": "size taken_in taken_id recorded_at checkpoint_size checkpoint_at",
                },
                grants={"app": "select", "worker": "select", "seq": "select, insert, update"},
            )
        },
    )


class EntryColumns:
    """An entry of a log."""

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    log_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[UUID] = mapped_column(Uuid)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    body: Mapped[bytes] = mapped_column(LargeBinary)


class AuditEntryRow(EntryColumns, CellBase):
    """An entry of a tenant's log: the bytes that were hashed, at their place."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        UniqueConstraint("tenant_id", "event_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={"tenant": "tenant_id", "technical": "log_seq event_id recorded_at", "opaque": "body"},
                grants={**_LOG_GRANTS, "worker": "select"},
            )
        },
    )


class TileColumns:
    """A tile of a log."""

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)


class AuditTileRow(TileColumns, CellBase):
    """A full tile of a tenant's tree (C2SP tlog-tiles)."""

    __tablename__ = "audit_tile"
    __table_args__ = (
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={"tenant": "tenant_id", "technical": "level number", "evidence": "hashes"},
                grants=_LOG_GRANTS,
            )
        },
    )


class CheckpointColumns:
    """A checkpoint of a log."""

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    note: Mapped[str] = mapped_column(Text)


class AuditCheckpointRow(CheckpointColumns, CellBase):
    """A signed checkpoint of a tenant's log (C2SP tlog-checkpoint)."""

    __tablename__ = "audit_checkpoint"
    __table_args__ = (
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={"tenant": "tenant_id", "technical": "size made_at", "evidence": "note"},
                grants={**_LOG_GRANTS, "worker": "select"},
            )
        },
    )


class CosignatureColumns:
    """A line of a witness."""

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    witness: Mapped[str] = mapped_column(Text, primary_key=True)
    line: Mapped[str] = mapped_column(Text)


class AuditCosignatureRow(CosignatureColumns, CellBase):
    """The line of a witness under a checkpoint (C2SP tlog-cosignature)."""

    __tablename__ = "audit_cosignature"
    __table_args__ = (
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={"tenant": "tenant_id", "technical": "size", "evidence": "witness line"},
                grants=_LOG_GRANTS,
            )
        },
    )


class SealColumns:
    """A package of a log in write-once storage, complete there before the row is written."""

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    end: Mapped[int] = mapped_column("log_end", BigInteger)
    manifest: Mapped[bytes] = mapped_column(LargeBinary)
    """The digest of the manifest, which the next package names."""
    sealed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class AuditSealRow(SealColumns, CellBase):
    """A package of a tenant's log that is in write-once storage."""

    __tablename__ = "audit_seal"
    __table_args__ = (
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={"tenant": "tenant_id", "technical": "first log_end sealed_at", "evidence": "manifest"},
                grants=_LOG_GRANTS,
            )
        },
    )


class AuditDestinationRow(CellBase):
    """Where a tenant's events are sent as they are logged; its secret is a name, never a value."""

    __tablename__ = "audit_destination"
    __table_args__ = (
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={"tenant": "tenant_id", "configuration": "name kind address authorities secret added_at"},
                grants={"app": "select, insert, delete", "worker": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    authorities: Mapped[str] = mapped_column(Text, server_default="")
    """Certificates (PEM) by which the receiver is believed; those of the machine where there are none."""
    secret: Mapped[str] = mapped_column(Text, server_default="")
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class AuditDeliveryRow(CellBase):
    """How far a destination has got, and who is sending to it until when."""

    __tablename__ = "audit_delivery"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "name"], ["audit_destination.tenant_id", "audit_destination.name"], ondelete="CASCADE"
        ),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "technical": "name next_seq turn attempts due_at leased_until delivered_at problem",
                },
                grants={"app": "select, insert, update", "worker": "select, update"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    next_seq: Mapped[int] = mapped_column(BigInteger)
    turn: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Grows with each lease and each replay: who comes back under an older one changes nothing."""
    attempts: Mapped[int] = mapped_column(BigInteger, server_default="0")
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    leased_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    problem: Mapped[str] = mapped_column(Text, server_default="")


def _one_log() -> CheckConstraint:
    """Return what keeps control's tables to one log: they have the shape of a cell's, under the tenant 0 that no cell has."""
    return CheckConstraint("tenant_id = 0", name="one_log")


_CONTROL_GRANTS: Final[dict[Role, str]] = {"app": "select", "seq": "select, insert"}


class ControlAuditEventRow(AuditColumns, ControlBase):
    """An event of the control plane."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_target", "target_type", "target_id", "occurred_at", "event_id"),
        Index("ix_audit_event_occurred_at", "occurred_at", "event_id"),
        Index("ix_audit_event_written_in", "tenant_id", "written_in", "event_id"),
        _one_log(),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "register": "event_id occurred_at written_in category type outcome target_type target_id changes",
                    "staff": "actor_kind actor_name origin reason",
                },
                grants={"app": "select, insert", "seq": "select"},
                tenant=False,
                why_no_tenant="changes of the directory itself: tenants, brands, domains and their placement",
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, server_default="0")
    written_in: Mapped[int] = mapped_column(BigInteger, server_default="0")


def _control_info(columns: dict[Sort, str], grants: dict[Role, str]) -> dict[str, Any]:
    return table_info(
        retention="audit_records",
        audit="none" if "update" in grants["seq"] else "record",
        columns={"tenant": "tenant_id", **columns},
        grants=grants,
        tenant=False,
        why_no_tenant="the log of the control plane itself, which is of no tenant",
    )


class ControlAuditLogRow(LogColumns, ControlBase):
    """Where the log of the control plane stands."""

    __tablename__ = "audit_log"
    __table_args__ = (
        _one_log(),
        {
            "info": _control_info(
                {
                    "evidence": "origin edge public_key",
                    "register": "size taken_in taken_id recorded_at checkpoint_size checkpoint_at",
                },
                {"app": "select", "seq": "select, insert, update"},
            )
        },
    )


class ControlAuditEntryRow(EntryColumns, ControlBase):
    """An entry of the control plane's log."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        UniqueConstraint("tenant_id", "event_id"),
        _one_log(),
        {"info": _control_info({"register": "log_seq event_id recorded_at", "staff": "body"}, _CONTROL_GRANTS)},
    )


class ControlAuditTileRow(TileColumns, ControlBase):
    """A full tile of the control plane's tree."""

    __tablename__ = "audit_tile"
    __table_args__ = (
        _one_log(),
        {"info": _control_info({"register": "level number", "evidence": "hashes"}, _CONTROL_GRANTS)},
    )


class ControlAuditCheckpointRow(CheckpointColumns, ControlBase):
    """A signed checkpoint of the control plane's log."""

    __tablename__ = "audit_checkpoint"
    __table_args__ = (
        _one_log(),
        {"info": _control_info({"register": "size made_at", "evidence": "note"}, _CONTROL_GRANTS)},
    )


class ControlAuditCosignatureRow(CosignatureColumns, ControlBase):
    """The line of a witness under a checkpoint of the control plane's log."""

    __tablename__ = "audit_cosignature"
    __table_args__ = (
        _one_log(),
        {"info": _control_info({"register": "size", "evidence": "witness line"}, _CONTROL_GRANTS)},
    )


class ControlAuditSealRow(SealColumns, ControlBase):
    """A package of the control plane's log that is in write-once storage."""

    __tablename__ = "audit_seal"
    __table_args__ = (
        _one_log(),
        {"info": _control_info({"register": "first log_end sealed_at", "evidence": "manifest"}, _CONTROL_GRANTS)},
    )
