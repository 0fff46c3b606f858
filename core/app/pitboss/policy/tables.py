"""Tables of the policy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class TenantPolicyRow(CellBase):
    """What a tenant tightens, and the versions of its packs, as they were applied last."""

    __tablename__ = "tenant_policy"
    __table_args__ = (
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "configuration": "policy packs",
                    "technical": "updated_at",
                },
                grants={"app": "select, insert, update (policy, packs, updated_at)", "worker": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    policy: Mapped[dict[str, Any]] = mapped_column(JSONB)
    packs: Mapped[dict[str, str]] = mapped_column(JSONB)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
