"""Tables of the control plane's register."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    LargeBinary,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.platform.db import ControlBase, table_info

_WHY = "the register of tenants itself, read by operators of the platform only; no personal data"


class CellRow(ControlBase):
    """A deployed stack; `directory_version` is the newest that was signed for it."""

    __tablename__ = "cell"
    __table_args__ = (
        UniqueConstraint("cell", "locality"),
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "cell",
                    "register": "locality address directory_version",
                },
                tenant=False,
                why_no_tenant=_WHY,
                grants={"app": "select, insert, update (address, directory_version)"},
            )
        },
    )

    cell: Mapped[str] = mapped_column(Text, primary_key=True)
    locality: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    directory_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class TenantRow(ControlBase):
    """A tenant and where it lives. Identity and locality carry no update grant: they never change."""

    __tablename__ = "tenant"
    __table_args__ = (
        ForeignKeyConstraint(["cell", "locality"], ["cell.cell", "cell.locality"]),
        CheckConstraint("state in ('pending', 'active', 'suspended', 'moving', 'closed')", name="state"),
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id public_id slug cell",
                    "register": "name state locality environment currencies packs plugins reserved_at activated_at",
                },
                audit_key="slug",
                tenant=False,
                why_no_tenant=_WHY,
                grants={"app": "select, insert, update (name, state, cell, currencies, packs, plugins, activated_at)"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    locality: Mapped[str] = mapped_column(Text)
    cell: Mapped[str] = mapped_column(Text)
    environment: Mapped[str] = mapped_column(Text)
    currencies: Mapped[list[str]] = mapped_column(ARRAY(Text))
    packs: Mapped[list[str]] = mapped_column(ARRAY(Text))
    plugins: Mapped[list[str]] = mapped_column(ARRAY(Text))
    reserved_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    activated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class BrandRow(ControlBase):
    """What players see of a tenant."""

    __tablename__ = "brand"
    __table_args__ = (
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id slug",
                    "register": "name languages default_language pack",
                },
                tenant=False,
                why_no_tenant=_WHY,
                grants={"app": "select, insert, update (name, languages, default_language, pack), delete"},
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.tenant_id"), primary_key=True)
    slug: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    languages: Mapped[list[str]] = mapped_column(ARRAY(Text))
    default_language: Mapped[str] = mapped_column(Text)
    pack: Mapped[str] = mapped_column(Text)
    """The law that players of the brand are registered under; empty for a tenant without packs."""


class DomainRow(ControlBase):
    """A host name; it leads to one brand in the whole world."""

    __tablename__ = "domain"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "brand"], ["brand.tenant_id", "brand.slug"]),
        {
            "info": table_info(
                retention="configuration",
                audit="events",
                columns={
                    "tenant": "tenant_id",
                    "register": "domain brand",
                },
                tenant=False,
                why_no_tenant=_WHY,
                grants={"app": "select, insert, update (brand), delete"},
            )
        },
    )

    domain: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(BigInteger)
    brand: Mapped[str] = mapped_column(Text)


class PublishedDirectoryRow(ControlBase):
    """What control signed for a cell, version by version."""

    __tablename__ = "published_directory"
    __table_args__ = (
        {
            "info": table_info(
                retention="audit_records",
                audit="record",
                columns={
                    "tenant": "cell",
                    "register": "version body published_at",
                    "evidence": "key_id signature",
                },
                tenant=False,
                why_no_tenant=_WHY,
                grants={"app": "select, insert"},
            )
        },
    )

    cell: Mapped[str] = mapped_column(ForeignKey("cell.cell"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key_id: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    published_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
