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
    op.create_table(
        "audit_checkpoint",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_checkpoint_one_log")),
        sa.PrimaryKeyConstraint("tenant_id", "size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_cosignature",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_cosignature_one_log")),
        sa.PrimaryKeyConstraint("tenant_id", "size", "witness", name=op.f("pk_audit_cosignature")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_entry_one_log")),
        sa.PrimaryKeyConstraint("tenant_id", "log_seq", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("tenant_id", "event_id", name=op.f("uq_audit_entry_tenant_id_event_id")),
    )
    op.create_table(
        "audit_event",
        sa.Column("tenant_id", sa.BigInteger(), server_default="0", nullable=False),
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
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_event_one_log")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_occurred_at", "audit_event", ["occurred_at", "event_id"], unique=False)
    op.create_index(
        "ix_audit_event_target", "audit_event", ["target_type", "target_id", "occurred_at", "event_id"], unique=False
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
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_log_one_log")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "audit_seal",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_end", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_seal_one_log")),
        sa.PrimaryKeyConstraint("tenant_id", "first", name=op.f("pk_audit_seal")),
    )
    op.create_table(
        "audit_tile",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("tenant_id = 0", name=op.f("ck_audit_tile_one_log")),
        sa.PrimaryKeyConstraint("tenant_id", "level", "number", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "capture",
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
        sa.PrimaryKeyConstraint("capture_id", name=op.f("pk_capture")),
    )
    op.create_index("ix_capture_written_in", "capture", ["written_in", "capture_id"], unique=False)
    op.create_table(
        "cell",
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("locality", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("directory_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("cell", name=op.f("pk_cell")),
        sa.UniqueConstraint("cell", "locality", name=op.f("uq_cell_cell_locality")),
    )
    op.create_table(
        "published_directory",
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["cell"], ["cell.cell"], name=op.f("fk_published_directory_cell_cell")),
        sa.PrimaryKeyConstraint("cell", "version", name=op.f("pk_published_directory")),
    )
    op.create_table(
        "tenant",
        sa.Column("tenant_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("locality", sa.Text(), nullable=False),
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("currencies", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("packs", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("plugins", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("reserved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('pending', 'active', 'suspended', 'moving', 'closed')", name=op.f("ck_tenant_state")
        ),
        sa.ForeignKeyConstraint(
            ["cell", "locality"], ["cell.cell", "cell.locality"], name=op.f("fk_tenant_cell_locality_cell")
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("public_id", name=op.f("uq_tenant_public_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_tenant_slug")),
    )
    op.create_table(
        "brand",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("default_language", sa.Text(), nullable=False),
        sa.Column("pack", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_brand_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "slug", name=op.f("pk_brand")),
    )
    op.create_table(
        "tenant_move",
        sa.Column("move_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_before", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("manifest", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("log_size", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("log_root", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("certificate", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint(
            "state in ('planned', 'frozen', 'exported', 'imported', 'compared', 'switched', 'shredded', 'rolled_back')",
            name=op.f("ck_tenant_move_state"),
        ),
        sa.CheckConstraint("source <> target", name=op.f("ck_tenant_move_cells")),
        sa.ForeignKeyConstraint(["source"], ["cell.cell"], name=op.f("fk_tenant_move_source_cell")),
        sa.ForeignKeyConstraint(["target"], ["cell.cell"], name=op.f("fk_tenant_move_target_cell")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_tenant_move_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("move_id", name=op.f("pk_tenant_move")),
    )
    op.create_index(
        "uq_tenant_move_running",
        "tenant_move",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("state not in ('shredded', 'rolled_back')"),
    )
    op.create_table(
        "domain",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "brand"], ["brand.tenant_id", "brand.slug"], name=op.f("fk_domain_tenant_id_brand_brand")
        ),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_domain")),
    )
