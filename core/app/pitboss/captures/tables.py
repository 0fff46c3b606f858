"""Tables of captured changes; triggers write them, and no login may."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Integer, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, ControlBase, table_info


class CaptureColumns:
    """A change of one row, whoever made it and by whatever way."""

    capture_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    captured_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    written_in: Mapped[int] = mapped_column(BigInteger)
    """The transaction; its audit events bear the same number."""
    login: Mapped[str] = mapped_column(Text)
    table_name: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    row_key: Mapped[str] = mapped_column(Text)
    """How events call the row, see `table_info`; never a personal value."""
    changed: Mapped[str] = mapped_column(Text)
    """The names of the columns that an update changed, never what stood or stands in them."""


class CaptureRow(CaptureColumns, CellBase):
    """A change of a row of one tenant; the owner's policy is for the trigger's function alone."""

    __tablename__ = "capture"
    __table_args__ = (
        Index("ix_capture_written_in", "tenant_id", "written_in", "capture_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "technical": "capture_id captured_at written_in login table_name operation changed",
                    "opaque": "row_key",
                },
                grants={"app": "select", "worker": "select", "owner": "insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, sort_order=-1)


class ControlCaptureRow(CaptureColumns, ControlBase):
    """A change of a row of the control plane."""

    __tablename__ = "capture"
    __table_args__ = (
        Index("ix_capture_written_in", "written_in", "capture_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "register": "capture_id captured_at written_in login table_name operation row_key changed",
                },
                grants={"app": "select"},
                tenant=False,
                why_no_tenant="changes of the directory itself: tenants, brands, domains and their placement",
            )
        },
    )


class ReconciliationRow(CellBase):
    """How far a tenant's events were held against captured changes, and how many findings nobody has looked into."""

    __tablename__ = "capture_reconciliation"
    __table_args__ = (
        CheckConstraint("findings >= 0", name="findings"),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={"tenant": "tenant_id", "technical": "reconciled_before reconciled_at findings"},
                grants={
                    "app": "select, update (findings)",
                    "worker": "select, insert, update (reconciled_before, reconciled_at, findings)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    reconciled_before: Mapped[int] = mapped_column(BigInteger)
    """Transactions before this one were looked at, all of them."""
    reconciled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    findings: Mapped[int] = mapped_column(Integer)
