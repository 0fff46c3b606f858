"""Tables of retention: legal holds, plans of destruction and their steps."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class LegalHoldRow(CellBase):
    """A legal hold; only its lifting is ever added."""

    __tablename__ = "legal_hold"
    __table_args__ = (
        CheckConstraint("scope in (1, 2, 3)", name="scope"),
        CheckConstraint("(scope = 1) = (subject_id is not null) and (scope = 2) = (table_name <> '')", name="what"),
        CheckConstraint("(lifted_at is null) = (lifted_by is null)", name="lifted"),
        CheckConstraint("lifted_by is null or lifted_by is distinct from lift_asked_by", name="four_eyes"),
        CheckConstraint("lifted_by is null or lift_asked_by is not null", name="asked"),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "technical": "hold_id scope table_name placed_at lifted_at",
                    "subject_key": "subject_id",
                    "staff": "placed_by lift_asked_by lifted_by",
                    "opaque": "case_reference reason lift_reason",
                },
                grants={
                    "app": "select, insert, update (lift_asked_by, lifted_at, lifted_by, lift_reason)",
                    "worker": "select",
                    "owner": "select",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hold_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    scope: Mapped[int] = mapped_column(SmallInteger)
    subject_id: Mapped[UUID | None] = mapped_column(Uuid)
    placed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    lifted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    table_name: Mapped[str] = mapped_column(Text, server_default=text("''"))
    case_reference: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(Text)
    lift_asked_by: Mapped[str | None] = mapped_column(Text)
    lifted_by: Mapped[str | None] = mapped_column(Text)
    lift_reason: Mapped[str] = mapped_column(Text, server_default=text("''"))


class RetentionRunRow(CellBase):
    """A plan of destruction: proposed by one, approved by another, carried out once."""

    __tablename__ = "retention_run"
    __table_args__ = (
        CheckConstraint("approved_by <> proposed_by", name="four_eyes"),
        CheckConstraint("(approved_at is null) = (approved_by is null)", name="approved"),
        CheckConstraint("finished_at is null or approved_at is not null", name="finished"),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "technical": "run_id proposed_at approved_at finished_at",
                    "evidence": "digest schedule_version",
                    "staff": "proposed_by approved_by",
                    "opaque": "reason",
                },
                grants={
                    "app": "select, insert, update (approved_by, approved_at)",
                    "worker": "select, update (finished_at)",
                    "owner": "select, update",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    run_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    proposed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    approved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    digest: Mapped[str] = mapped_column(Text)
    schedule_version: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    proposed_by: Mapped[str] = mapped_column(Text)
    approved_by: Mapped[str | None] = mapped_column(Text)


class RetentionStepRow(CellBase):
    """One table and licence of a plan; what is counted up as rows go is no part of what was approved."""

    __tablename__ = "retention_step"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "run_id"], ["retention_run.tenant_id", "retention_run.run_id"]),
        CheckConstraint("rows_destroyed between 0 and rows_due", name="destroyed"),
        {
            "info": table_info(
                retention="audit_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "technical": "run_id step table_name licence counts_from cutoff_at rows_due rows_held oldest_at"
                    " rows_destroyed finished_at",
                },
                grants={"app": "select, insert", "worker": "select", "owner": "select, update"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    run_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    cutoff_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    oldest_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    rows_due: Mapped[int] = mapped_column(BigInteger)
    rows_held: Mapped[int] = mapped_column(BigInteger)
    rows_destroyed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    table_name: Mapped[str] = mapped_column(Text)
    licence: Mapped[str] = mapped_column(Text)
    counts_from: Mapped[str] = mapped_column(Text)
