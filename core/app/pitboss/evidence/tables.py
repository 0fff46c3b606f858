"""Tables of the sealed log: where it stands, its segments, and the tiles of its tree; segments lie in write-once storage."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class RoundLogRow(CellBase):
    """Where the sealed log of a tenant stands."""

    __tablename__ = "round_log"
    __table_args__ = (
        {
            "info": table_info(
                retention="money_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "evidence": "origin edge last_digest public_key",
                    "technical": "size segments",
                },
                grants={"app": "select", "seq": "select, insert, update"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    origin: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    edge: Mapped[bytes] = mapped_column(LargeBinary)
    """The right edge of the tree: all that is needed to append."""
    segments: Mapped[int] = mapped_column(BigInteger)
    last_digest: Mapped[str] = mapped_column(Text)
    """Of the text of the last manifest, which the next one names."""
    public_key: Mapped[bytes] = mapped_column(LargeBinary)


class RoundSegmentRow(CellBase):
    """A segment: its signed manifest, and its objects until they are stored.

    What was signed is kept here before it leaves, so that a process that dies stores the same bytes again.
    """

    __tablename__ = "round_segment"
    __table_args__ = (
        Index("ix_round_segment_waiting", "tenant_id", "number", postgresql_where=text("stored_at is null")),
        {
            "info": table_info(
                retention="money_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "technical": "number first size opened_at closed_at stored_at",
                    "house_money": "manifest",
                    "opaque": "lines columns",
                },
                grants={"app": "select", "seq": "select, insert, update (lines, columns, stored_at)"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    """Of the tree with this segment: its entries are those from `first` up to it."""
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    stored_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    manifest: Mapped[bytes] = mapped_column(LargeBinary)
    lines: Mapped[bytes | None] = mapped_column(LargeBinary)
    columns: Mapped[bytes | None] = mapped_column(LargeBinary)


class RoundTileRow(CellBase):
    """A full tile of a tenant's tree (C2SP tlog-tiles)."""

    __tablename__ = "round_tile"
    __table_args__ = (
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={"tenant": "tenant_id", "technical": "level number", "evidence": "hashes"},
                grants={"app": "select", "seq": "select, insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)
