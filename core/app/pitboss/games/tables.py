"""Tables of the games room: catalogue, certified versions, sessions and rounds."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info


class GameRow(CellBase):
    """A game of a provider as one tenant has it."""

    __tablename__ = "game"
    __table_args__ = (
        UniqueConstraint("tenant_id", "plugin", "code"),
        Index("ix_game_offered", "tenant_id", "title", "plugin", "code", postgresql_where=text("enabled")),
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "game_id plugin code title provider category rtp_basis_points version_id",
                    "configuration": "switched_on suspended enabled",
                    "technical": "synced_at",
                },
                audit_key="plugin code",
                quiet={"synced_at": "when the provider's list was read last, which changes nothing of the game"},
                grants={"app": "select, insert, update", "worker": "select, insert, update"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    game_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    plugin: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(Text)
    rtp_basis_points: Mapped[int | None] = mapped_column(Integer)
    switched_on: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    """The operator's own word."""
    suspended: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """The provider's word."""
    enabled: Mapped[bool] = mapped_column(Boolean, Computed("switched_on and not suspended", persisted=True))
    """What launches and bets go by: neither word outweighs the other."""
    version_id: Mapped[int] = mapped_column(BigInteger)
    synced_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class GameVersionRow(CellBase):
    """A build of a game that was offered at some time; rounds name the one they were played on."""

    __tablename__ = "game_version"
    __table_args__ = (
        UniqueConstraint("tenant_id", "plugin", "code", "version_hash"),
        {
            "info": table_info(
                retention="game_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "version_id plugin code version_hash",
                    "technical": "first_seen_at",
                },
                grants={"app": "select, insert", "worker": "select, insert", "seq": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    plugin: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    version_hash: Mapped[str] = mapped_column(Text)
    first_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class GameSessionRow(CellBase):
    """One launch of a game by a player; its id goes to the aggregator and comes back in wallet calls.

    `game_id` is what was launched; bets of the session may name other games (see `pitboss_sdk.games.WalletCall`).
    """

    __tablename__ = "game_session"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "game_id"], ["game.tenant_id", "game.game_id"]),
        Index("ix_game_session_player", "tenant_id", "player_id", "opened_at"),
        {
            "info": table_info(
                retention="game_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "session_id player_id wallet_id",
                    "play": "game_id state opened_at expires_at",
                },
                grants={
                    "app": "select, insert, update (state, expires_at)",
                    "worker": "select, update (state)",
                    "owner": "select, delete",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    session_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    wallet_id: Mapped[int] = mapped_column(BigInteger)
    game_id: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[int] = mapped_column(SmallInteger)
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RoundRow(CellBase):
    """A player's part in a round, kept by the transactions that post its money.

    `round_id` is derived from maker and provider's id, so both ids find the round without an index of their own.
    """

    __tablename__ = "round"
    __table_args__ = (
        CheckConstraint("first_version <= last_version", name="versions"),
        Index("ix_round_started", "tenant_id", "started_at"),
        {
            "info": table_info(
                retention="game_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "round_id wallet_id player_id session_id reference",
                    "play": "started_at updated_at game_version_id source_id bets mode state first_version last_version",
                    "money": "bet_real bet_bonus win_minor jackpot_minor jackpot_pool balance_before balance_after currency",
                },
                grants={
                    "app": "select, insert, update",
                    "worker": "select",
                    "seq": "select",
                    "owner": "select, delete",
                },
            ),
            "postgresql_with": {"fillfactor": 75},
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    round_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first_version: Mapped[int] = mapped_column(BigInteger)
    last_version: Mapped[int] = mapped_column(BigInteger)
    bet_real: Mapped[int] = mapped_column(BigInteger)
    bet_bonus: Mapped[int] = mapped_column(BigInteger)
    win_minor: Mapped[int] = mapped_column(BigInteger)
    jackpot_minor: Mapped[int] = mapped_column(BigInteger)
    balance_before: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)
    game_version_id: Mapped[int] = mapped_column(BigInteger)
    player_id: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    source_id: Mapped[int] = mapped_column(Integer)
    bets: Mapped[int] = mapped_column(Integer)
    mode: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[int] = mapped_column(SmallInteger)
    session_id: Mapped[UUID | None] = mapped_column(Uuid)
    currency: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    jackpot_pool: Mapped[str] = mapped_column(Text)
