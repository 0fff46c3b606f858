"""The foundation: every table that the first release has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("batch_block_seq")))
    op.create_table(
        "attempt_throttle",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("paid_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_attempt_throttle")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_cosignature",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "size", "witness", name=op.f("pk_audit_cosignature")),
    )
    op.create_table(
        "audit_destination",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("authorities", sa.Text(), server_default="", nullable=False),
        sa.Column("secret", sa.Text(), server_default="", nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_audit_destination")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "log_seq", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("tenant_id", "event_id", name=op.f("uq_audit_entry_tenant_id_event_id")),
    )
    op.create_table(
        "audit_event",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("written_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column(
            "occurred_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("origin", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "event_id", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_occurred_at", "audit_event", ["tenant_id", "occurred_at", "event_id"], unique=False)
    op.create_index(
        "ix_audit_event_target",
        "audit_event",
        ["tenant_id", "target_type", "target_id", "occurred_at", "event_id"],
        unique=False,
    )
    op.create_index("ix_audit_event_written_in", "audit_event", ["tenant_id", "written_in", "event_id"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("taken_in", sa.BigInteger(), nullable=False),
        sa.Column("taken_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint_size", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "audit_seal",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_end", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "first", name=op.f("pk_audit_seal")),
    )
    op.create_table(
        "audit_tile",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "level", "number", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "award_terms",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("award_id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("required_minor", sa.BigInteger(), nullable=False),
        sa.Column(
            "ordered_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cancel_reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_award_terms_amount")),
        sa.CheckConstraint("expires_at >= ordered_at", name=op.f("ck_award_terms_expires")),
        sa.CheckConstraint("required_minor > 0", name=op.f("ck_award_terms_required")),
        sa.PrimaryKeyConstraint("tenant_id", "award_id", name=op.f("pk_award_terms")),
        sa.UniqueConstraint("tenant_id", "reference", name=op.f("uq_award_terms_tenant_id_reference")),
    )
    op.create_index(
        "ix_award_terms_expires",
        "award_terms",
        ["tenant_id", "expires_at"],
        unique=False,
        postgresql_where=sa.text("settled_at is null"),
    )
    op.create_index("ix_award_terms_wallet", "award_terms", ["tenant_id", "wallet_id"], unique=False)
    op.create_table(
        "batch",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bookings", sa.Integer(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("counter_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "batch_id", name=op.f("pk_batch")),
    )
    op.create_table(
        "brand_theme",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("colour", sa.Text(), nullable=False),
        sa.Column("names", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("stylesheet", sa.Text(), nullable=False),
        sa.Column("logo", sa.LargeBinary(), nullable=True),
        sa.Column("logo_type", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "brand", name=op.f("pk_brand_theme")),
    )
    op.create_table(
        "call_key",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("refusal", sa.SmallInteger(), nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("answered_minor", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "key", name=op.f("pk_call_key")),
    )
    op.create_table(
        "capture",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("capture_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "captured_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("written_in", sa.BigInteger(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.Column("changed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "capture_id", name=op.f("pk_capture")),
    )
    op.create_index("ix_capture_written_in", "capture", ["tenant_id", "written_in", "capture_id"], unique=False)
    op.create_table(
        "capture_reconciliation",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reconciled_before", sa.BigInteger(), nullable=False),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.CheckConstraint("findings >= 0", name=op.f("ck_capture_reconciliation_findings")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_capture_reconciliation")),
    )
    op.create_table(
        "directory_snapshot",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_directory_snapshot_version")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_directory_snapshot")),
    )
    op.create_table(
        "exclusion",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("exclusion_id", sa.Uuid(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("ends_at >= starts_at", name=op.f("ck_exclusion_ends")),
        sa.PrimaryKeyConstraint("tenant_id", "exclusion_id", name=op.f("pk_exclusion")),
    )
    op.create_index("ix_exclusion_player", "exclusion", ["tenant_id", "player_id"], unique=False)
    op.create_table(
        "game",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("game_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("rtp_basis_points", sa.Integer(), nullable=True),
        sa.Column("switched_on", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("suspended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "enabled", sa.Boolean(), sa.Computed("switched_on and not suspended", persisted=True), nullable=False
        ),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "game_id", name=op.f("pk_game")),
        sa.UniqueConstraint("tenant_id", "plugin", "code", name=op.f("uq_game_tenant_id_plugin_code")),
    )
    op.create_index(
        "ix_game_offered",
        "game",
        ["tenant_id", "title", "plugin", "code"],
        unique=False,
        postgresql_where=sa.text("enabled"),
    )
    op.create_table(
        "game_version",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("version_hash", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "version_id", name=op.f("pk_game_version")),
        sa.UniqueConstraint(
            "tenant_id",
            "plugin",
            "code",
            "version_hash",
            name=op.f("uq_game_version_tenant_id_plugin_code_version_hash"),
        ),
    )
    op.create_table(
        "house_account",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "account_id", name=op.f("pk_house_account")),
        sa.UniqueConstraint(
            "tenant_id", "kind", "currency", "provider", name=op.f("uq_house_account_tenant_id_kind_currency_provider")
        ),
    )
    op.create_table(
        "journal",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("d_real", sa.BigInteger(), nullable=False),
        sa.Column("d_bonus", sa.BigInteger(), nullable=False),
        sa.Column("d_held", sa.BigInteger(), nullable=False),
        sa.Column("d_debt", sa.BigInteger(), nullable=False),
        sa.Column(
            "d_counter",
            sa.BigInteger(),
            sa.Computed("d_debt - d_real - d_bonus - d_held", persisted=True),
            nullable=False,
        ),
        sa.Column("real_after", sa.BigInteger(), nullable=False),
        sa.Column("bonus_after", sa.BigInteger(), nullable=False),
        sa.Column("held_after", sa.BigInteger(), nullable=False),
        sa.Column("debt_after", sa.BigInteger(), nullable=False),
        sa.Column("reverses_version", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("op", sa.SmallInteger(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "real_after >= 0 and bonus_after >= 0 and held_after >= 0 and debt_after >= 0",
            name=op.f("ck_journal_after"),
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_journal_version")),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", "version", name=op.f("pk_journal")),
    )
    op.create_index("ix_journal_created_at", "journal", ["created_at"], unique=False, postgresql_using="brin")
    op.create_index(
        "uq_journal_reverses",
        "journal",
        ["tenant_id", "wallet_id", "reverses_version"],
        unique=True,
        postgresql_where=sa.text("reverses_version is not null"),
    )
    op.create_table(
        "journal_sealed",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", name=op.f("pk_journal_sealed")),
        info={
            "tenant": True,
            "why_no_tenant": "",
            "grants": {"app": "select", "seq": "select, insert, update (version)"},
            "columns": {"tenant_id": ["tenant"], "wallet_id": ["subject_key"], "version": ["technical"]},
            "retention": "money_records",
            "audit": "none",
            "audit_key": "",
            "quiet": {},
        },
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "key_epoch",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "state in (1, 2, 3) and (state = 1) = (wrapped_key is not null)", name=op.f("ck_key_epoch_state")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "epoch", name=op.f("pk_key_epoch")),
    )
    op.create_table(
        "ledger_proof",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.CheckConstraint("findings >= 0", name=op.f("ck_ledger_proof_findings")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_ledger_proof")),
    )
    op.create_table(
        "legal_hold",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("placed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("table_name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("case_reference", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("lift_asked_by", sa.Text(), nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.Column("lift_reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint(
            "(scope = 1) = (subject_id is not null) and (scope = 2) = (table_name <> '')",
            name=op.f("ck_legal_hold_what"),
        ),
        sa.CheckConstraint("(lifted_at is null) = (lifted_by is null)", name=op.f("ck_legal_hold_lifted")),
        sa.CheckConstraint("lifted_by is null or lift_asked_by is not null", name=op.f("ck_legal_hold_asked")),
        sa.CheckConstraint(
            "lifted_by is null or lifted_by is distinct from lift_asked_by", name=op.f("ck_legal_hold_four_eyes")
        ),
        sa.CheckConstraint("scope in (1, 2, 3)", name=op.f("ck_legal_hold_scope")),
        sa.PrimaryKeyConstraint("tenant_id", "hold_id", name=op.f("pk_legal_hold")),
    )
    op.create_table(
        "outbox_job",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=True),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$'", name=op.f("ck_outbox_job_trace")),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", name=op.f("pk_outbox_job")),
    )
    op.create_index(
        "ix_outbox_job_due", "outbox_job", ["available_at"], unique=False, postgresql_where=sa.text("done_at is null")
    )
    op.create_index(
        "uq_outbox_job_dedupe",
        "outbox_job",
        ["tenant_id", "job", "dedupe_key"],
        unique=True,
        postgresql_where=sa.text("dedupe_key is not null"),
    )
    op.create_table(
        "play_time_limit",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("player_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("limit_minutes", sa.Integer(), nullable=False),
        sa.Column("next_minutes", sa.Integer(), nullable=True),
        sa.Column("next_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("limit_minutes >= 0 and next_minutes >= 0", name=op.f("ck_play_time_limit_minutes")),
        sa.CheckConstraint("next_minutes is null or next_from is not null", name=op.f("ck_play_time_limit_next")),
        sa.PrimaryKeyConstraint("tenant_id", "player_id", "period", name=op.f("pk_play_time_limit")),
    )
    op.create_table(
        "player",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("player_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("(status = 3) = (closed_at is not null)", name=op.f("ck_player_closed")),
        sa.CheckConstraint("status in (1, 2, 3)", name=op.f("ck_player_status")),
        sa.PrimaryKeyConstraint("tenant_id", "player_id", name=op.f("pk_player")),
        sa.UniqueConstraint("tenant_id", "public_id", name=op.f("uq_player_tenant_id_public_id")),
    )
    op.create_table(
        "player_limit",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("next_minor", sa.BigInteger(), nullable=True),
        sa.Column("next_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount_minor >= 0 and next_minor >= 0", name=op.f("ck_player_limit_amount")),
        sa.CheckConstraint("next_minor is null or next_from is not null", name=op.f("ck_player_limit_next")),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", "kind", "period", name=op.f("pk_player_limit")),
    )
    op.create_table(
        "plugin_enablement",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("distribution", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("config_version", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "slug", name=op.f("pk_plugin_enablement")),
    )
    op.create_table(
        "quality_comparison",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "compared_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "hour", "plugin", name=op.f("pk_quality_comparison")),
    )
    op.create_table(
        "quality_finding",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("finding_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("area", sa.SmallInteger(), nullable=False),
        sa.Column("dimension", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("plugin", sa.Text(), server_default="", nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("provider_round", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "finding_id", name=op.f("pk_quality_finding")),
        sa.UniqueConstraint(
            "tenant_id",
            "hour",
            "kind",
            "plugin",
            "reference",
            name=op.f("uq_quality_finding_tenant_id_hour_kind_plugin_reference"),
        ),
    )
    op.create_index(
        "ix_quality_finding_open",
        "quality_finding",
        ["tenant_id", "hour", "finding_id"],
        unique=False,
        postgresql_where=sa.text("is_open"),
    )
    op.create_table(
        "quality_measure",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("area", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("dimension", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("wrong", sa.BigInteger(), nullable=False),
        sa.Column("share_ppm", sa.BigInteger(), nullable=False),
        sa.Column("threshold_ppm", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column(
            "measured_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("found >= 0 and wrong >= 0", name=op.f("ck_quality_measure_counts")),
        sa.PrimaryKeyConstraint("tenant_id", "hour", "area", "dimension", name=op.f("pk_quality_measure")),
    )
    op.create_table(
        "retention_run",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("schedule_version", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(approved_at is null) = (approved_by is null)", name=op.f("ck_retention_run_approved")),
        sa.CheckConstraint("approved_by <> proposed_by", name=op.f("ck_retention_run_four_eyes")),
        sa.CheckConstraint("finished_at is null or approved_at is not null", name=op.f("ck_retention_run_finished")),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_retention_run")),
    )
    op.create_table(
        "round",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_version", sa.BigInteger(), nullable=False),
        sa.Column("last_version", sa.BigInteger(), nullable=False),
        sa.Column("bet_real", sa.BigInteger(), nullable=False),
        sa.Column("bet_bonus", sa.BigInteger(), nullable=False),
        sa.Column("win_minor", sa.BigInteger(), nullable=False),
        sa.Column("jackpot_minor", sa.BigInteger(), nullable=False),
        sa.Column("balance_before", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("game_version_id", sa.BigInteger(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("bets", sa.Integer(), nullable=False),
        sa.Column("mode", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("jackpot_pool", sa.Text(), nullable=False),
        sa.CheckConstraint("first_version <= last_version", name=op.f("ck_round_versions")),
        sa.PrimaryKeyConstraint("tenant_id", "round_id", "wallet_id", name=op.f("pk_round")),
        info={
            "tenant": True,
            "why_no_tenant": "",
            "grants": {"app": "select, insert, update", "worker": "select", "seq": "select", "owner": "select, delete"},
            "columns": {
                "tenant_id": ["tenant"],
                "round_id": ["subject_key"],
                "wallet_id": ["subject_key"],
                "player_id": ["subject_key"],
                "session_id": ["subject_key"],
                "reference": ["subject_key"],
                "started_at": ["play"],
                "updated_at": ["play"],
                "game_version_id": ["play"],
                "source_id": ["play"],
                "bets": ["play"],
                "mode": ["play"],
                "state": ["play"],
                "first_version": ["play"],
                "last_version": ["play"],
                "bet_real": ["money"],
                "bet_bonus": ["money"],
                "win_minor": ["money"],
                "jackpot_minor": ["money"],
                "jackpot_pool": ["money"],
                "balance_before": ["money"],
                "balance_after": ["money"],
                "currency": ["money"],
            },
            "retention": "game_records",
            "audit": "none",
            "audit_key": "",
            "quiet": {},
        },
        postgresql_with={"fillfactor": 75},
    )
    op.create_index("ix_round_started", "round", ["tenant_id", "started_at"], unique=False)
    op.create_table(
        "round_log",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("segments", sa.BigInteger(), nullable=False),
        sa.Column("last_digest", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_round_log")),
    )
    op.create_table(
        "round_segment",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=True),
        sa.Column("columns", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "number", name=op.f("pk_round_segment")),
    )
    op.create_index(
        "ix_round_segment_waiting",
        "round_segment",
        ["tenant_id", "number"],
        unique=False,
        postgresql_where=sa.text("stored_at is null"),
    )
    op.create_table(
        "round_tile",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "level", "number", name=op.f("pk_round_tile")),
    )
    op.create_table(
        "source",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", name=op.f("pk_source")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_source_tenant_id_name")),
    )
    op.create_table(
        "tenant_policy",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("packs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_policy")),
    )
    op.create_table(
        "wallet",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("real_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bonus_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("held_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("debt_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("has_awards", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("has_limits", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("bonus_minor >= 0", name=op.f("ck_wallet_bonus")),
        sa.CheckConstraint("debt_minor >= 0", name=op.f("ck_wallet_debt")),
        sa.CheckConstraint("held_minor >= 0", name=op.f("ck_wallet_held")),
        sa.CheckConstraint("real_minor >= 0", name=op.f("ck_wallet_real")),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", name=op.f("pk_wallet")),
        sa.UniqueConstraint("tenant_id", "player_id", "currency", name=op.f("uq_wallet_tenant_id_player_id_currency")),
        info={
            "tenant": True,
            "why_no_tenant": "",
            "grants": {"app": "select, insert", "worker": "select", "seq": "select", "owner": "select, update"},
            "columns": {
                "tenant_id": ["tenant"],
                "wallet_id": ["subject_key"],
                "player_id": ["subject_key"],
                "real_minor": ["money"],
                "bonus_minor": ["money"],
                "held_minor": ["money"],
                "debt_minor": ["money"],
                "currency": ["money"],
                "version": ["technical"],
                "opened_at": ["account"],
                "closed_until": ["account"],
                "status": ["account"],
                "has_awards": ["account"],
                "has_limits": ["account"],
                "licence": ["account"],
            },
            "retention": "money_records",
            "audit": "record",
            "audit_key": "",
            "quiet": {},
        },
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "webhook",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "plugin", "event_id", name=op.f("pk_webhook")),
    )
    op.create_index(
        "ix_webhook_parked",
        "webhook",
        ["tenant_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("state = 4"),
    )
    op.create_table(
        "webhook_object",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "plugin", "object_id", name=op.f("pk_webhook_object")),
    )
    op.create_table(
        "audit_delivery",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "name"],
            ["audit_destination.tenant_id", "audit_destination.name"],
            name=op.f("fk_audit_delivery_tenant_id_name_audit_destination"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_audit_delivery")),
    )
    op.create_table(
        "award",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("granted_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("granted_minor", sa.BigInteger(), nullable=False),
        sa.Column("remaining_minor", sa.BigInteger(), nullable=False),
        sa.Column("wagered_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("granted_minor > 0", name=op.f("ck_award_granted")),
        sa.CheckConstraint("remaining_minor >= 0", name=op.f("ck_award_remaining")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "wallet_id"],
            ["wallet.tenant_id", "wallet.wallet_id"],
            name=op.f("fk_award_tenant_id_wallet_id_wallet"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", "granted_version", name=op.f("pk_award")),
    )
    op.create_table(
        "erasure",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("keys_destroyed", sa.Integer(), nullable=False),
        sa.Column("removed", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("backups_closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "epoch"],
            ["key_epoch.tenant_id", "key_epoch.epoch"],
            name=op.f("fk_erasure_tenant_id_epoch_key_epoch"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "subject_id", name=op.f("pk_erasure")),
    )
    op.create_table(
        "game_session",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), nullable=False),
        sa.Column("game_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "game_id"],
            ["game.tenant_id", "game.game_id"],
            name=op.f("fk_game_session_tenant_id_game_id_game"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "session_id", name=op.f("pk_game_session")),
    )
    op.create_index("ix_game_session_player", "game_session", ["tenant_id", "player_id", "opened_at"], unique=False)
    op.create_table(
        "hold",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("opened_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("released_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 1) = (captured_minor + released_minor < amount_minor)", name=op.f("ck_hold_state")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_hold_amount")),
        sa.CheckConstraint(
            "captured_minor >= 0 and released_minor >= 0 and captured_minor + released_minor <= amount_minor",
            name=op.f("ck_hold_resolved"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "wallet_id"],
            ["wallet.tenant_id", "wallet.wallet_id"],
            name=op.f("fk_hold_tenant_id_wallet_id_wallet"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", "opened_version", name=op.f("pk_hold")),
    )
    op.create_index("ix_hold_expires", "hold", ["expires_at"], unique=False, postgresql_where=sa.text("state = 1"))
    op.create_table(
        "house_balance",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("folded_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["house_account.tenant_id", "house_account.account_id"],
            name=op.f("fk_house_balance_tenant_id_account_id_house_account"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "account_id", name=op.f("pk_house_balance")),
    )
    op.create_table(
        "house_delta",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("delta_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["house_account.tenant_id", "house_account.account_id"],
            name=op.f("fk_house_delta_tenant_id_account_id_house_account"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "account_id", "batch_id", name=op.f("pk_house_delta")),
    )
    op.create_table(
        "index_key",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "epoch"],
            ["key_epoch.tenant_id", "key_epoch.epoch"],
            name=op.f("fk_index_key_tenant_id_epoch_key_epoch"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_index_key")),
    )
    op.create_table(
        "keyring",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "epoch"],
            ["key_epoch.tenant_id", "key_epoch.epoch"],
            name=op.f("fk_keyring_tenant_id_epoch_key_epoch"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_keyring")),
    )
    op.create_table(
        "password_reset",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "player_id"],
            ["player.tenant_id", "player.player_id"],
            name=op.f("fk_password_reset_tenant_id_player_id_player"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "token_hash", name=op.f("pk_password_reset")),
    )
    op.create_index("ix_password_reset_player", "password_reset", ["tenant_id", "player_id"], unique=False)
    op.create_table(
        "player_credential",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("player_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "player_id"],
            ["player.tenant_id", "player.player_id"],
            name=op.f("fk_player_credential_tenant_id_player_id_player"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "player_id", name=op.f("pk_player_credential")),
    )
    op.create_table(
        "player_identity",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("player_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("email_index", sa.LargeBinary(), nullable=False),
        sa.Column("email", sa.LargeBinary(), nullable=False),
        sa.Column("first_name", sa.LargeBinary(), nullable=False),
        sa.Column("last_name", sa.LargeBinary(), nullable=False),
        sa.Column("birth_date", sa.LargeBinary(), nullable=False),
        sa.Column("country", sa.LargeBinary(), nullable=False),
        sa.Column("phone", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "player_id"],
            ["player.tenant_id", "player.player_id"],
            name=op.f("fk_player_identity_tenant_id_player_id_player"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "player_id", name=op.f("pk_player_identity")),
        sa.UniqueConstraint(
            "tenant_id", "brand", "email_index", name=op.f("uq_player_identity_tenant_id_brand_email_index")
        ),
    )
    op.create_table(
        "player_session",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "player_id"],
            ["player.tenant_id", "player.player_id"],
            name=op.f("fk_player_session_tenant_id_player_id_player"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "token_hash", name=op.f("pk_player_session")),
    )
    op.create_index("ix_player_session_player", "player_session", ["tenant_id", "player_id"], unique=False)
    op.create_table(
        "retention_step",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cutoff_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("oldest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rows_due", sa.BigInteger(), nullable=False),
        sa.Column("rows_held", sa.BigInteger(), nullable=False),
        sa.Column("rows_destroyed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("counts_from", sa.Text(), nullable=False),
        sa.CheckConstraint("rows_destroyed between 0 and rows_due", name=op.f("ck_retention_step_destroyed")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"],
            ["retention_run.tenant_id", "retention_run.run_id"],
            name=op.f("fk_retention_step_tenant_id_run_id_retention_run"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "step", name=op.f("pk_retention_step")),
    )
    op.create_table(
        "subject_case",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("effect_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("reasons", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.CheckConstraint("kind between 1 and 5", name=op.f("ck_subject_case_kind")),
        sa.CheckConstraint("state between 1 and 6", name=op.f("ck_subject_case_state")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "player_id"],
            ["player.tenant_id", "player.player_id"],
            name=op.f("fk_subject_case_tenant_id_player_id_player"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "case_id", name=op.f("pk_subject_case")),
        sa.UniqueConstraint("tenant_id", "reference", name=op.f("uq_subject_case_tenant_id_reference")),
    )
    op.create_index(
        "ix_subject_case_due",
        "subject_case",
        ["tenant_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("state < 4"),
    )
    op.create_index("ix_subject_case_player", "subject_case", ["tenant_id", "player_id"], unique=False)
    op.create_index("ix_subject_case_received", "subject_case", ["tenant_id", "received_at", "case_id"], unique=False)
    op.create_table(
        "subject_key",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "state in (1, 2, 3) and (state = 3) = (wrapped_key is null)", name=op.f("ck_subject_key_state")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "epoch"],
            ["key_epoch.tenant_id", "key_epoch.epoch"],
            name=op.f("fk_subject_key_tenant_id_epoch_key_epoch"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "subject_id", "version", name=op.f("pk_subject_key")),
    )
    op.create_index("ix_subject_key_epoch", "subject_key", ["tenant_id", "epoch"], unique=False)
    op.create_table(
        "usage",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("window_start", sa.Date(), nullable=False),
        sa.Column("used_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "wallet_id"],
            ["wallet.tenant_id", "wallet.wallet_id"],
            name=op.f("fk_usage_tenant_id_wallet_id_wallet"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", "kind", "period", "window_start", name=op.f("pk_usage")),
    )
    op.create_table(
        "award_entry",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("granted_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("d_remaining", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "wallet_id", "granted_version"],
            ["award.tenant_id", "award.wallet_id", "award.granted_version"],
            name=op.f("fk_award_entry_tenant_id_wallet_id_granted_version_award"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "wallet_id", "version", "granted_version", name=op.f("pk_award_entry")),
    )
    op.create_table(
        "processing_restriction",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("player_id", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ground", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "case_id"],
            ["subject_case.tenant_id", "subject_case.case_id"],
            name=op.f("fk_processing_restriction_tenant_id_case_id_subject_case"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "player_id"],
            ["player.tenant_id", "player.player_id"],
            name=op.f("fk_processing_restriction_tenant_id_player_id_player"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "case_id", name=op.f("pk_processing_restriction")),
    )
    op.create_index(
        "ix_processing_restriction_player",
        "processing_restriction",
        ["tenant_id", "player_id"],
        unique=False,
        postgresql_where=sa.text("lifted_at is null"),
    )
    op.create_table(
        "subject_export",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "case_id"],
            ["subject_case.tenant_id", "subject_case.case_id"],
            name=op.f("fk_subject_export_tenant_id_case_id_subject_case"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "export_id", name=op.f("pk_subject_export")),
    )
    op.create_index("ix_subject_export_case", "subject_export", ["tenant_id", "case_id"], unique=False)
