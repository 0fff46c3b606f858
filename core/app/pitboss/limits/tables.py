"""Tables of the limits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class PlayerLimitRow(CellBase):
    """The limit of one kind and period on one wallet; what was used of it is the ledger's."""

    __tablename__ = "player_limit"
    __table_args__ = (
        CheckConstraint("amount_minor >= 0", name="amount"),
        {
            "info": table_info(
                grants={"app": "select, insert, update (amount_minor, set_at), delete", "worker": "select"}
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    period: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
