"""Tables of the ledger; hot rows are ordered so that fixed-width columns stand together."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import CellBase, table_info

BATCH_BLOCKS = Sequence("batch_block_seq", metadata=CellBase.metadata)
"""Each value stands for a block of batch ids that one lane uses up."""


class WalletRow(CellBase):
    """A player's money in one currency; one row, so that a call locks and writes one row.

    `licence` is the player's, which never changes: it stands here so that whoever decides on the wallet has it.

    Logins may open and read it; the balance is moved by the journal's trigger alone, and its marks by
    `ledger_change_terms()`, both of which run as the owner and both with a row of the journal.
    """

    __tablename__ = "wallet"
    __table_args__ = (
        UniqueConstraint("tenant_id", "player_id", "currency"),
        CheckConstraint("real_minor >= 0", name="real"),
        CheckConstraint("bonus_minor >= 0", name="bonus"),
        CheckConstraint("held_minor >= 0", name="held"),
        CheckConstraint("debt_minor >= 0", name="debt"),
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id player_id",
                    "money": "real_minor bonus_minor held_minor debt_minor currency",
                    "technical": "version",
                    "account": "opened_at closed_until status has_awards has_limits licence",
                },
                grants={
                    "app": "select, insert",
                    "worker": "select",
                    "seq": "select",
                    "owner": "select, update",
                },
            ),
            "postgresql_with": {"fillfactor": 70},
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    player_id: Mapped[int] = mapped_column(BigInteger)
    real_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    bonus_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    held_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    debt_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    closed_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    status: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    has_awards: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """Whether bonus money was ever booked here. It stays when the last award is settled: a bet that an award paid may
    be taken back, or won, as long as its key is kept, and that is decided on the award's rows."""
    has_limits: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    currency: Mapped[str] = mapped_column(Text)
    licence: Mapped[str] = mapped_column(Text, server_default=text("''"))


class JournalRow(CellBase):
    """One accepted leg. `d_counter` is the house side, so a row cannot be unbalanced."""

    __tablename__ = "journal"
    __table_args__ = (
        CheckConstraint("real_after >= 0 and bonus_after >= 0 and held_after >= 0 and debt_after >= 0", name="after"),
        CheckConstraint("version > 0", name="version"),
        Index(
            "uq_journal_reverses",
            "tenant_id",
            "wallet_id",
            "reverses_version",
            unique=True,
            postgresql_where=text("reverses_version is not null"),
        ),
        Index("ix_journal_created_at", "created_at", postgresql_using="brin"),
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id round_id reference",
                    "money": "d_real d_bonus d_held d_debt d_counter real_after bonus_after held_after debt_after op created_at",
                    "technical": "version batch_id reverses_version",
                    "catalogue": "account_id source_id",
                },
                grants={"app": "select, insert", "worker": "select, insert", "seq": "select", "owner": "insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    batch_id: Mapped[int] = mapped_column(BigInteger)
    d_real: Mapped[int] = mapped_column(BigInteger)
    d_bonus: Mapped[int] = mapped_column(BigInteger)
    d_held: Mapped[int] = mapped_column(BigInteger)
    d_debt: Mapped[int] = mapped_column(BigInteger)
    d_counter: Mapped[int] = mapped_column(BigInteger, Computed("d_debt - d_real - d_bonus - d_held", persisted=True))
    real_after: Mapped[int] = mapped_column(BigInteger)
    bonus_after: Mapped[int] = mapped_column(BigInteger)
    held_after: Mapped[int] = mapped_column(BigInteger)
    debt_after: Mapped[int] = mapped_column(BigInteger)
    reverses_version: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    account_id: Mapped[int] = mapped_column(Integer)
    source_id: Mapped[int] = mapped_column(Integer)
    op: Mapped[int] = mapped_column(SmallInteger)
    round_id: Mapped[UUID | None] = mapped_column(Uuid)
    reference: Mapped[str] = mapped_column(Text)


class JournalSealedRow(CellBase):
    """Up to which version the sealed log has taken a wallet's journal.

    Versions of a wallet have no gap and are committed in their order, so this mark alone says what is still to be taken:
    no order of transactions, and no clock, has a part in it.
    """

    __tablename__ = "journal_sealed"
    __table_args__ = (
        {
            "info": table_info(
                retention="money_records",
                audit="none",
                columns={"tenant": "tenant_id", "subject_key": "wallet_id", "technical": "version"},
                grants={"app": "select", "seq": "select, insert, update (version)"},
            ),
            "postgresql_with": {"fillfactor": 70},
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)


class CallKeyRow(CellBase):
    """One outcome per external id: accepted, refused and tombstoned keys together."""

    __tablename__ = "call_key"
    __table_args__ = (
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "source_id",
                    "technical": "outcome refusal content_hash version",
                    "subject_key": "wallet_id key",
                    "money": "answered_minor",
                },
                grants={"app": "select, insert", "worker": "select, insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    refusal: Mapped[int] = mapped_column(SmallInteger)
    wallet_id: Mapped[int] = mapped_column(BigInteger)
    content_hash: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    answered_minor: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[UUID] = mapped_column(Uuid, primary_key=True)


class HoldRow(CellBase):
    """Money set aside for a withdrawal; named by the journal row that opened it."""

    __tablename__ = "hold"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "wallet_id"], ["wallet.tenant_id", "wallet.wallet_id"]),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint(
            "captured_minor >= 0 and released_minor >= 0 and captured_minor + released_minor <= amount_minor",
            name="resolved",
        ),
        CheckConstraint("(state = 1) = (captured_minor + released_minor < amount_minor)", name="state"),
        Index("ix_hold_expires", "expires_at", postgresql_where=text("state = 1")),
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id",
                    "technical": "opened_version",
                    "money": "amount_minor captured_minor released_minor state expires_at resolved_at",
                },
                grants={
                    "app": "select, insert, update (captured_minor, released_minor, state, resolved_at)",
                    "worker": "select, insert, update (captured_minor, released_minor, state, resolved_at)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    opened_version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    captured_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    released_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    state: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    resolved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class AwardRow(CellBase):
    """Bonus money in play. The remaining of open awards is the wallet's bonus bucket; the terms are elsewhere."""

    __tablename__ = "award"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "wallet_id"], ["wallet.tenant_id", "wallet.wallet_id"]),
        CheckConstraint("remaining_minor >= 0", name="remaining"),
        CheckConstraint("granted_minor > 0", name="granted"),
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id",
                    "technical": "granted_version",
                    "money": "granted_minor remaining_minor wagered_minor",
                },
                grants={
                    "app": "select, insert, update (remaining_minor, wagered_minor)",
                    "worker": "select, insert, update (remaining_minor, wagered_minor)",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    granted_version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    granted_minor: Mapped[int] = mapped_column(BigInteger)
    remaining_minor: Mapped[int] = mapped_column(BigInteger)
    wagered_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class AwardEntryRow(CellBase):
    """How much of one journal row's bonus part came from, or went to, one award."""

    __tablename__ = "award_entry"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "wallet_id", "granted_version"],
            ["award.tenant_id", "award.wallet_id", "award.granted_version"],
        ),
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id",
                    "technical": "version granted_version",
                    "money": "d_remaining",
                },
                grants={"app": "select, insert", "worker": "select, insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    granted_version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    d_remaining: Mapped[int] = mapped_column(BigInteger)


class UsageRow(CellBase):
    """What a wallet has used of a limit window; kept for wallets that have such a limit."""

    __tablename__ = "usage"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "wallet_id"], ["wallet.tenant_id", "wallet.wallet_id"]),
        {
            "info": table_info(
                retention="money_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "subject_key": "wallet_id",
                    "protection": "kind period window_start used_minor",
                },
                grants={
                    "app": "select, insert, update (used_minor)",
                    "worker": "select, insert, update (used_minor), delete",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    wallet_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    period: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    window_start: Mapped[datetime] = mapped_column(Date, primary_key=True)
    used_minor: Mapped[int] = mapped_column(BigInteger)


class HouseAccountRow(CellBase):
    """A house-side account; its balance is `house_balance` plus the unfolded `house_delta` rows."""

    __tablename__ = "house_account"
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "currency", "provider"),
        {
            "info": table_info(
                retention="configuration",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "account_id kind currency provider",
                },
                grants={"app": "select, insert", "worker": "select", "seq": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    kind: Mapped[int] = mapped_column(SmallInteger)
    currency: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(Text)


class HouseDeltaRow(CellBase):
    """What one batch did to one house account; a worker folds closed rows into `house_balance`."""

    __tablename__ = "house_delta"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "account_id"], ["house_account.tenant_id", "house_account.account_id"]),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "account_id",
                    "technical": "batch_id",
                    "house_money": "delta_minor",
                },
                grants={"app": "select, insert", "worker": "select, insert, update, delete"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    batch_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    delta_minor: Mapped[int] = mapped_column(BigInteger)


class HouseBalanceRow(CellBase):
    """The folded part of a house account's balance."""

    __tablename__ = "house_balance"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "account_id"], ["house_account.tenant_id", "house_account.account_id"]),
        {
            "info": table_info(
                retention="money_records",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "account_id",
                    "house_money": "folded_minor",
                },
                grants={"app": "select", "worker": "select, insert, update"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    folded_minor: Mapped[int] = mapped_column(BigInteger)


class ProofRow(CellBase):
    """The outcome of a tenant's last proof, kept so that what it found outlives the process that found it."""

    __tablename__ = "ledger_proof"
    __table_args__ = (
        CheckConstraint("findings >= 0", name="findings"),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={"tenant": "tenant_id", "technical": "findings proven_at"},
                grants={"worker": "select, insert, update (findings, proven_at)"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    proven_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    findings: Mapped[int] = mapped_column(Integer)


class BatchRow(CellBase):
    """One tenant's share of one committed batch."""

    __tablename__ = "batch"
    __table_args__ = (
        {
            "info": table_info(
                retention="money_records",
                audit="record",
                columns={
                    "tenant": "tenant_id",
                    "technical": "batch_id bookings lane created_at",
                    "house_money": "counter_minor",
                },
                grants={"app": "select, insert", "worker": "select, insert"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    batch_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    bookings: Mapped[int] = mapped_column(Integer)
    lane: Mapped[int] = mapped_column(Integer)
    counter_minor: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class SourceRow(CellBase):
    """Who makes external ids: a plugin of a tenant, the operators, the platform itself."""

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        {
            "info": table_info(
                retention="configuration",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "catalogue": "source_id name",
                },
                grants={"app": "select, insert", "worker": "select", "seq": "select"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source_id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
