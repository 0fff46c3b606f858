"""Tables of the plugin host."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Index, Integer, LargeBinary, SmallInteger, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class PluginEnablementRow(CellBase):
    """A plugin of a tenant, with the configuration that was applied last."""

    __tablename__ = "plugin_enablement"
    __table_args__ = (
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "slug kind distribution version",
                    "configuration": "config config_version enabled",
                    "technical": "updated_at",
                },
                grants={"app": "select, insert, update", "worker": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    slug: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    distribution: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB)
    config_version: Mapped[int] = mapped_column(Integer)
    enabled: Mapped[bool] = mapped_column(Boolean)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WebhookRow(CellBase):
    """A webhook as a vendor sent it, and what became of it; its id keeps a repetition of it out."""

    __tablename__ = "webhook"
    __table_args__ = (
        Index("ix_webhook_parked", "tenant_id", "received_at", postgresql_where=text("state = 4")),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "plugin",
                    "technical": "event_id received_at sent_at settled_at sequence attempts state path method",
                    "opaque": "object_id reason headers body",
                },
                grants={
                    "app": "select, insert",
                    "worker": "select, update (state, reason, attempts, settled_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    plugin: Mapped[str] = mapped_column(Text, primary_key=True)
    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    settled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sequence: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    state: Mapped[int] = mapped_column(SmallInteger)
    object_id: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default=text("''"))
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    """Those alone that the receiver names."""
    body: Mapped[bytes] = mapped_column(LargeBinary)


class WebhookObjectRow(CellBase):
    """The newest event of an object of a vendor that was carried out; what is not above it is dropped."""

    __tablename__ = "webhook_object"
    __table_args__ = (
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "plugin",
                    "opaque": "object_id",
                    "technical": "sequence",
                },
                grants={"worker": "select, insert, update"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    plugin: Mapped[str] = mapped_column(Text, primary_key=True)
    object_id: Mapped[str] = mapped_column(Text, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
