"""The directory's table in a cell."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class DirectorySnapshotRow(CellBase):
    """A snapshot as control signed it; the row is its own record of what the cell was told, and when."""

    __tablename__ = "directory_snapshot"
    __table_args__ = (
        CheckConstraint("version > 0", name="version"),
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "register": "version body stored_at",
                    "evidence": "key_id signature",
                },
                tenant=False,
                why_no_tenant="where each tenant lives, signed by control; no personal data",
                grants={"app": "select, insert", "worker": "select", "relay": "select", "seq": "select"},
            )
        },
    )

    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key_id: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    stored_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
