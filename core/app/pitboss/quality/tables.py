"""Tables of data quality: measures, comparisons with aggregators' books, and findings."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class QualityMeasureRow(CellBase):
    """How an hour stands in one area and dimension; measured again, it is written over."""

    __tablename__ = "quality_measure"
    __table_args__ = (
        CheckConstraint("found >= 0 and wrong >= 0", name="counts"),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "technical": "hour area dimension found wrong share_ppm threshold_ppm state measured_at",
                },
                grants={
                    "app": "select, insert, update (found, wrong, share_ppm, threshold_ppm, state, measured_at)",
                    "worker": "select, insert, update (found, wrong, share_ppm, threshold_ppm, state, measured_at), delete",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    area: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    dimension: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    found: Mapped[int] = mapped_column(BigInteger)
    wrong: Mapped[int] = mapped_column(BigInteger)
    share_ppm: Mapped[int] = mapped_column(BigInteger)
    threshold_ppm: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[int] = mapped_column(SmallInteger)
    measured_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class QualityComparisonRow(CellBase):
    """How far an hour was held against the books of the aggregator behind a plugin."""

    __tablename__ = "quality_comparison"
    __table_args__ = (
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "plugin",
                    "technical": "hour state listed matched late attempts next_at compared_at problem",
                },
                grants={
                    "app": "select",
                    "worker": "select, insert, delete,"
                    " update (state, listed, matched, late, attempts, next_at, compared_at, problem)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    plugin: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[int] = mapped_column(SmallInteger)
    listed: Mapped[int] = mapped_column(BigInteger)
    matched: Mapped[int] = mapped_column(BigInteger)
    late: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer)
    next_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    compared_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    problem: Mapped[str] = mapped_column(Text, server_default="")


class QualityFindingRow(CellBase):
    """One record that is or was wrong; found again after it was closed, the row is opened again."""

    __tablename__ = "quality_finding"
    __table_args__ = (
        UniqueConstraint("tenant_id", "hour", "kind", "plugin", "reference"),
        Index("ix_quality_finding_open", "tenant_id", "hour", "finding_id", postgresql_where=text("is_open")),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "plugin",
                    "subject_key": "reference provider_round",
                    "money": "detail",
                    "technical": "finding_id hour area dimension kind is_open attempts next_at opened_at closed_at",
                },
                quiet={
                    "attempts": "how often an aggregator was asked for it again",
                    "next_at": "when it is asked next",
                },
                grants={
                    "app": "select, insert, update (is_open, detail, attempts, next_at, opened_at, closed_at)",
                    "worker": "select, insert, update (is_open, detail, attempts, next_at, opened_at, closed_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    finding_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    area: Mapped[int] = mapped_column(SmallInteger)
    dimension: Mapped[int] = mapped_column(SmallInteger)
    kind: Mapped[int] = mapped_column(SmallInteger)
    plugin: Mapped[str] = mapped_column(Text, server_default="")
    reference: Mapped[str] = mapped_column(Text)
    provider_round: Mapped[str] = mapped_column(Text, server_default="")
    detail: Mapped[str] = mapped_column(Text, server_default="")
    is_open: Mapped[bool] = mapped_column(server_default=text("true"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
