"""Tables of data subjects' requests: cases, exports, restrictions; no word about a person."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info

_PLAYER = ["player.tenant_id", "player.player_id"]
_CASE = ["subject_case.tenant_id", "subject_case.case_id"]


class SubjectCaseRow(CellBase):
    """A request of a data subject and where it stands."""

    __tablename__ = "subject_case"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "player_id"], _PLAYER),
        UniqueConstraint("tenant_id", "reference"),
        CheckConstraint("kind between 1 and 5", name="kind"),
        CheckConstraint("state between 1 and 6", name="state"),
        Index("ix_subject_case_player", "tenant_id", "player_id"),
        Index("ix_subject_case_due", "tenant_id", "due_at", postgresql_where=text("state < 4")),
        Index("ix_subject_case_received", "tenant_id", "received_at", "case_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                audit_key="case_id",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "case_id player_id",
                    "account": "received_at due_at changed_at effect_at ended_at kind state reasons",
                    "opaque": "reference",
                },
                grants={
                    "app": "select, insert, update (state, reasons, changed_at, effect_at, ended_at)",
                    "worker": "select",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    case_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    effect_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    kind: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    reasons: Mapped[str] = mapped_column(Text, server_default=text("''"))
    reference: Mapped[str] = mapped_column(Text)


class SubjectExportRow(CellBase):
    """A file that was made for a case; the file stands in the tenant's folder, sealed under the subject's key."""

    __tablename__ = "subject_export"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "case_id"], _CASE),
        Index("ix_subject_export_case", "tenant_id", "case_id"),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                audit_key="export_id",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "export_id case_id",
                    "account": "asked_at made_at expires_at removed_at",
                    "technical": "size_bytes",
                    "evidence": "sha256",
                },
                grants={
                    "app": "select, insert",
                    "worker": "select, update (made_at, removed_at, size_bytes, sha256)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    export_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(Uuid)
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    made_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    removed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    size_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    sha256: Mapped[bytes] = mapped_column(LargeBinary, server_default=text("''"))


class ProcessingRestrictionRow(CellBase):
    """A player's data are kept and not used, until it is lifted; placed by a case, once."""

    __tablename__ = "processing_restriction"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "case_id"], _CASE),
        ForeignKeyConstraint(["tenant_id", "player_id"], _PLAYER),
        Index(
            "ix_processing_restriction_player",
            "tenant_id",
            "player_id",
            postgresql_where=text("lifted_at is null"),
        ),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                audit_key="case_id",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "case_id player_id",
                    "account": "placed_at lifted_at ground",
                },
                grants={"app": "select, insert, update (lifted_at)", "worker": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    case_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    placed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    lifted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ground: Mapped[str] = mapped_column(Text)
