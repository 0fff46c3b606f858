"""The table of themes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class BrandThemeRow(CellBase):
    """How a brand looks: what its tenant gave, and what was derived from it when it was applied."""

    __tablename__ = "brand_theme"
    __table_args__ = (
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "configuration": "brand version colour names stylesheet logo logo_type",
                    "technical": "updated_at",
                },
                grants={"app": "select, insert, update, delete"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    brand: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[str] = mapped_column(Text)
    colour: Mapped[str] = mapped_column(Text)
    names: Mapped[dict[str, Any]] = mapped_column(JSONB)
    stylesheet: Mapped[str] = mapped_column(Text)
    logo: Mapped[bytes | None] = mapped_column(LargeBinary)
    logo_type: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
