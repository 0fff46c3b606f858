"""The register of moves, on the control plane."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import ControlBase, table_info

_STATES = "'planned', 'frozen', 'exported', 'imported', 'compared', 'switched', 'shredded', 'rolled_back'"


class TenantMoveRow(ControlBase):
    """A move of a tenant between two cells; digests and no figures, since figures are the cell's."""

    __tablename__ = "tenant_move"
    __table_args__ = (
        CheckConstraint(f"state in ({_STATES})", name="state"),
        CheckConstraint("source <> target", name="cells"),
        Index(
            "uq_tenant_move_running",
            "tenant_id",
            unique=True,
            postgresql_where=text("state not in ('shredded', 'rolled_back')"),
        ),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                columns={
                    "tenant": "tenant_id source target",
                    "register": "move_id state state_before log_size started_at changed_at",
                    "evidence": "manifest log_root certificate",
                },
                tenant=False,
                why_no_tenant="which tenant moved from which cell to which; digests, no data of theirs",
                grants={"app": "select, insert, update (state, changed_at, manifest, log_size, log_root, certificate)"},
            )
        },
    )

    move_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.tenant_id"))
    source: Mapped[str] = mapped_column(ForeignKey("cell.cell"))
    target: Mapped[str] = mapped_column(ForeignKey("cell.cell"))
    state: Mapped[str] = mapped_column(Text)
    state_before: Mapped[str] = mapped_column(Text)
    """What the tenant was when it was frozen, and is again at the end."""
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    manifest: Mapped[str] = mapped_column(Text, server_default=text("''"))
    log_size: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    log_root: Mapped[str] = mapped_column(Text, server_default=text("''"))
    certificate: Mapped[str] = mapped_column(Text, server_default=text("''"))
