"""Tables of the limits."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Integer, SmallInteger, Text, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class PlayerLimitRow(CellBase):
    """The limit of one kind and period on one wallet; what was used of it is the ledger's.

    From `next_from` on it is `next_minor`, or gone where that is null.
    """

    __tablename__ = "player_limit"
    __table_args__ = (
        CheckConstraint("amount_minor >= 0 and next_minor >= 0", name="amount"),
        CheckConstraint("next_minor is null or next_from is not null", name="next"),
        {
            "info": table_info(
                retention="exclusion_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id",
                    "protection": "kind period amount_minor next_minor next_from set_at",
                },
                grants={
                    "app": "select, insert, update (amount_minor, set_at, next_minor, next_from), delete",
                    "worker": "select",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    period: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    next_minor: Mapped[int | None] = mapped_column(BigInteger)
    next_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class PlayTimeLimitRow(CellBase):
    """For how long of a period a player has games open at most; how long they were is the games room's.

    From `next_from` on it is `next_minutes`, or gone where that is null.
    """

    __tablename__ = "play_time_limit"
    __table_args__ = (
        CheckConstraint("limit_minutes >= 0 and next_minutes >= 0", name="minutes"),
        CheckConstraint("next_minutes is null or next_from is not null", name="next"),
        {
            "info": table_info(
                retention="exclusion_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "player_id",
                    "protection": "period limit_minutes next_minutes next_from set_at",
                },
                grants={
                    "app": "select, insert, update (limit_minutes, set_at, next_minutes, next_from), delete",
                    "worker": "select",
                    "owner": "select, delete",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    player_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    period: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    limit_minutes: Mapped[int] = mapped_column(Integer)
    next_minutes: Mapped[int | None] = mapped_column(Integer)
    next_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ExclusionRow(CellBase):
    """A time-out or an exclusion of a player; no login deletes it, and only its early end is ever added."""

    __tablename__ = "exclusion"
    __table_args__ = (
        Index("ix_exclusion_player", "tenant_id", "player_id"),
        CheckConstraint("ends_at >= starts_at", name="ends"),
        {
            "info": table_info(
                retention="exclusion_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "exclusion_id player_id",
                    "protection": "kind starts_at ends_at lifted_from",
                    "opaque": "reason",
                },
                grants={
                    "app": "select, insert, update (lifted_from)",
                    "worker": "select",
                    "owner": "select, delete",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    exclusion_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    starts_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lifted_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    kind: Mapped[int] = mapped_column(SmallInteger)
    reason: Mapped[str] = mapped_column(Text)
