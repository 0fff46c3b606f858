"""Tables of the bonus room."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Text, UniqueConstraint, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class AwardTermsRow(CellBase):
    """The terms of one award. Its money and its progress are the ledger's, booked under the award's id.

    Only a cancellation is ever added, and `settled_at`: when the worker saw that nothing is left after its end.
    """

    __tablename__ = "award_terms"
    __table_args__ = (
        UniqueConstraint("tenant_id", "reference"),
        Index("ix_award_terms_wallet", "tenant_id", "wallet_id"),
        Index("ix_award_terms_expires", "tenant_id", "expires_at", postgresql_where=text("settled_at is null")),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("required_minor > 0", name="required"),
        CheckConstraint("expires_at >= ordered_at", name="expires"),
        {
            "info": table_info(
                retention="money_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "award_id wallet_id reference",
                    "money": "amount_minor required_minor ordered_at expires_at cancelled_at settled_at",
                    "opaque": "reason cancel_reason",
                },
                quiet={
                    "settled_at": "the worker's note that nothing is left; the booking that took it is the journal's"
                },
                grants={
                    "app": "select, insert, update (cancelled_at, cancel_reason)",
                    "worker": "select, update (settled_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    award_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    wallet_id: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    required_minor: Mapped[int] = mapped_column(BigInteger)
    ordered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    settled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reference: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    cancel_reason: Mapped[str] = mapped_column(Text, server_default=text("''"))
