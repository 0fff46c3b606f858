"""Tables of player accounts; personal data stands in `player_identity` alone."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Identity,
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

_PLAYER_KEY = ["player.tenant_id", "player.player_id"]


class PlayerRow(CellBase):
    """A player account, without a personal value. The licence carries no update grant: it never changes."""

    __tablename__ = "player"
    __table_args__ = (
        UniqueConstraint("tenant_id", "public_id"),
        CheckConstraint("status in (1, 2, 3)", name="status"),
        CheckConstraint("(status = 3) = (closed_at is not null)", name="closed"),
        {
            "info": table_info(
                retention="player_data",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "player_id public_id",
                    "account": "registered_at closed_at status brand language currency licence",
                    "opaque": "status_reason",
                },
                audit_key="public_id",
                grants={
                    "app": "select, insert, update (status, status_reason, closed_at)",
                    "worker": "select",
                    "owner": "select",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    player_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    registered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    status: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    public_id: Mapped[UUID] = mapped_column(Uuid)
    brand: Mapped[str] = mapped_column(Text)
    status_reason: Mapped[str] = mapped_column(Text, server_default=text("''"))
    language: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    licence: Mapped[str] = mapped_column(Text, server_default=text("''"))


class PlayerIdentityRow(CellBase):
    """Who the player is: the one table with personal data, each value sealed under the player's own key.

    The address is found by a digest under a key of the tenant. An erasure deletes the row, and so the digest.
    """

    __tablename__ = "player_identity"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "player_id"], _PLAYER_KEY),
        UniqueConstraint("tenant_id", "brand", "email_index"),
        {
            "info": table_info(
                retention="player_data",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "player_id",
                    "account": "brand",
                    "identity": "email email_index first_name last_name birth_date country phone",
                },
                grants={
                    "app": "select, insert, update (first_name, last_name, birth_date, country, phone), delete",
                    "worker": "select",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    player_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    brand: Mapped[str] = mapped_column(Text)
    email_index: Mapped[bytes] = mapped_column(LargeBinary)
    email: Mapped[bytes] = mapped_column(LargeBinary)
    first_name: Mapped[bytes] = mapped_column(LargeBinary)
    last_name: Mapped[bytes] = mapped_column(LargeBinary)
    birth_date: Mapped[bytes] = mapped_column(LargeBinary)
    country: Mapped[bytes] = mapped_column(LargeBinary)
    phone: Mapped[bytes] = mapped_column(LargeBinary)


class PlayerCredentialRow(CellBase):
    """The argon2id hash of a player's password."""

    __tablename__ = "player_credential"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "player_id"], _PLAYER_KEY),
        {
            "info": table_info(
                retention="player_data",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "player_id",
                    "credential": "password_hash",
                    "account": "changed_at",
                },
                grants={
                    "app": "select, insert, update (password_hash, changed_at), delete",
                    "worker": "select (tenant_id, player_id, changed_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    player_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    password_hash: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class PlayerSessionRow(CellBase):
    """A session, under the SHA-256 of its token; a session that ended is a row that is gone."""

    __tablename__ = "player_session"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "player_id"], _PLAYER_KEY),
        Index("ix_player_session_player", "tenant_id", "player_id"),
        {
            "info": table_info(
                retention="session",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "credential": "token_hash",
                    "subject_key": "player_id",
                    "account": "created_at last_seen_at expires_at",
                },
                grants={"app": "select, insert, update (last_seen_at), delete", "worker": "select, delete"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PasswordResetRow(CellBase):
    """A reset token, under its SHA-256; used once, before it expires."""

    __tablename__ = "password_reset"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "player_id"], _PLAYER_KEY),
        Index("ix_password_reset_player", "tenant_id", "player_id"),
        {
            "info": table_info(
                retention="session",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "credential": "token_hash",
                    "subject_key": "player_id",
                    "account": "created_at expires_at used_at",
                },
                grants={"app": "select, update (used_at), delete", "worker": "select, insert, delete"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class AttemptThrottleRow(CellBase):
    """Up to when attempts under a key (a hash) are paid for; see the store's `charge_attempt`."""

    __tablename__ = "attempt_throttle"
    __table_args__ = (
        {
            "info": table_info(
                retention="session",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "credential": "key",
                    "technical": "paid_until",
                },
                grants={"app": "select, insert, update, delete", "worker": "select, delete"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    paid_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
