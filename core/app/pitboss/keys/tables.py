"""Tables of wrapped keys and of erasures; no row opens anything without the key service."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info

_EPOCH = ["key_epoch.tenant_id", "key_epoch.epoch"]


class KeyEpochRow(CellBase):
    """An epoch of a tenant, with its key wrapped in the key service."""

    __tablename__ = "key_epoch"
    __table_args__ = (
        CheckConstraint("state in (1, 2, 3) and (state = 1) = (wrapped_key is not null)", name="state"),
        {
            "info": table_info(
                retention="technical",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "technical": "epoch key_version state started_at changed_at",
                    "credential": "wrapped_key",
                },
                grants={
                    "app": "select, insert, update (wrapped_key, state, changed_at)",
                    "worker": "select, insert, update (wrapped_key, state, changed_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    key_version: Mapped[int] = mapped_column(Integer)
    state: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)


class KeyringRow(CellBase):
    """The epoch under which a tenant's new keys are wrapped; whoever wraps one holds this row meanwhile."""

    __tablename__ = "keyring"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "epoch"], _EPOCH),
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={"tenant": "tenant_id", "technical": "epoch"},
                grants={"app": "select, insert, update (epoch)", "worker": "select, insert, update (epoch)"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(Integer)


class SubjectKeyRow(CellBase):
    """A version of a subject's key, wrapped under the key of an epoch; an erased one keeps its row without the key."""

    __tablename__ = "subject_key"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "epoch"], _EPOCH),
        CheckConstraint("state in (1, 2, 3) and (state = 3) = (wrapped_key is null)", name="state"),
        Index("ix_subject_key_epoch", "tenant_id", "epoch"),
        {
            "info": table_info(
                retention="player_data",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "subject_id",
                    "technical": "version epoch created_at",
                    "account": "state changed_at",
                    "credential": "wrapped_key",
                },
                quiet={
                    "epoch": "the same key put under the key of a new epoch opens what it opened before",
                    "wrapped_key": "as above; a key that is destroyed changes its state too",
                },
                grants={
                    "app": "select, insert, update (epoch, wrapped_key, state, changed_at)",
                    "worker": "select, insert, update (epoch, wrapped_key, state, changed_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    subject_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(Integer)
    state: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)


class IndexKeyRow(CellBase):
    """The key of a blind index, wrapped under the key of an epoch."""

    __tablename__ = "index_key"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "epoch"], _EPOCH),
        {
            "info": table_info(
                retention="configuration",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "technical": "name epoch created_at",
                    "credential": "wrapped_key",
                },
                grants={
                    "app": "select, insert, update (epoch, wrapped_key)",
                    "worker": "select, insert, update (epoch, wrapped_key)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)


class ErasureRow(CellBase):
    """What an erasure did, without anything that it erased; a subject is erased once."""

    __tablename__ = "erasure"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "epoch"], _EPOCH),
        {
            "info": table_info(
                retention="audit_records",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "subject_id",
                    "technical": "certificate_id epoch keys_destroyed removed backups_closed_at",
                    "account": "erased_at",
                    "configuration": "policy_version",
                },
                grants={
                    "app": "select, insert, update (backups_closed_at)",
                    "worker": "select, insert, update (backups_closed_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    subject_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    certificate_id: Mapped[UUID] = mapped_column(Uuid)
    erased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    policy_version: Mapped[str] = mapped_column(Text)
    epoch: Mapped[int] = mapped_column(Integer)
    keys_destroyed: Mapped[int] = mapped_column(Integer)
    removed: Mapped[dict[str, int]] = mapped_column(JSONB)
    backups_closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
