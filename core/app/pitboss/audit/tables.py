"""Tables of the audit log: one in each cell, one in the control plane, both append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, ControlBase, table_info


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
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "technical": "event_id occurred_at category type outcome target_type",
                    "staff": "actor_kind actor_name origin reason",
                    "opaque": "target_id changes",
                },
                grants={"app": "select, insert", "worker": "select, insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, sort_order=-1)


class ControlAuditEventRow(AuditColumns, ControlBase):
    """An event of the control plane."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_target", "target_type", "target_id", "occurred_at", "event_id"),
        Index("ix_audit_event_occurred_at", "occurred_at", "event_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "register": "event_id occurred_at category type outcome target_type target_id changes",
                    "staff": "actor_kind actor_name origin reason",
                },
                grants={"app": "select, insert"},
                tenant=False,
                why_no_tenant="changes of the directory itself: tenants, brands, domains and their placement",
            )
        },
    )
