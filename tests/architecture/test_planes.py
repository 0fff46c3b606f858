"""Every table stands on one plane, the control plane holds no personal column, and tenants' keys begin with the tenant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from pitboss.audit.contracts import PERSONAL_FIELDS
from pitboss.migrations.schema import load_metadata
from pitboss.platform.db import table_info

HARMLESS = {"cell.address"}
"""Columns of the control plane with a personal name that hold no person: where a cell is reached."""


def find_personal_columns(metadata: MetaData) -> Iterator[str]:
    """Yield columns of the control plane that would hold a person."""
    for table in metadata.tables.values():
        for column in table.columns:
            personal = column.name in PERSONAL_FIELDS or column.name.startswith(("player", "email", "phone"))
            if personal and f"{table.name}.{column.name}" not in HARMLESS:
                yield f"{table.name}.{column.name}"


def find_keys_without_tenant(metadata: MetaData) -> Iterator[str]:
    """Yield keys of tenants' tables through which two tenants could meet."""
    for table in metadata.tables.values():
        if not table.info.get("tenant", True):
            continue
        for constraint in table.constraints:
            if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
                columns = [column.name for column in constraint.columns]
                if columns[:1] != ["tenant_id"]:
                    yield f"{table.name}: key {columns} does not begin with tenant_id"
            if isinstance(constraint, ForeignKeyConstraint):
                names = [(element.parent.name, element.target_fullname) for element in constraint.elements]
                if ("tenant_id", f"{constraint.elements[0].target_fullname.split('.')[0]}.tenant_id") not in names:
                    yield f"{table.name}: foreign key {names} does not carry tenant_id"
        for index in table.indexes:
            first = next(iter(index.expressions), None)
            if index.unique and getattr(first, "name", None) != "tenant_id":
                yield f"{table.name}: unique index {index.name} does not begin with tenant_id"


def test_no_table_stands_on_both_planes_by_accident() -> None:
    both = set(load_metadata("control").tables) & set(load_metadata("cell").tables)
    log = {f"audit_{name}" for name in ("event", "log", "entry", "tile", "checkpoint", "cosignature", "seal")}
    assert both <= log | {"capture"}, "each plane has its own audit log and captures; nothing else is on both"


def test_the_control_plane_holds_no_personal_column() -> None:
    assert load_metadata("control").tables
    assert list(find_personal_columns(load_metadata("control"))) == []


def test_keys_of_tenants_begin_with_the_tenant() -> None:
    tables = load_metadata("cell").tables.values()
    assert sum(1 for table in tables if table.info["tenant"]) >= 10
    assert list(find_keys_without_tenant(load_metadata("cell"))) == []


def test_a_table_without_tenant_says_why() -> None:
    silent = [
        table.name
        for plane in ("control", "cell")
        for table in load_metadata(plane).tables.values()
        if not table.info["tenant"] and not table.info["why_no_tenant"]
    ]
    assert silent == []


@pytest.mark.parametrize("name", ["email", "player_id", "birth_date"])
def test_a_planted_personal_column_is_found(name: str) -> None:
    metadata = MetaData()
    Table("brand", metadata, Column("brand_id", BigInteger, primary_key=True), Column(name, Text))
    assert list(find_personal_columns(metadata)) == [f"brand.{name}"]


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ([PrimaryKeyConstraint("wheel_id")], "key ['wheel_id']"),
        ([PrimaryKeyConstraint("tenant_id", "wheel_id"), UniqueConstraint("email")], "key ['email']"),
        ([PrimaryKeyConstraint("tenant_id", "wheel_id"), Index("uq_wheel", "email", unique=True)], "index uq_wheel"),
        (
            [PrimaryKeyConstraint("tenant_id", "wheel_id"), ForeignKeyConstraint(["wheel_id"], ["hall.wheel_id"])],
            "does not carry tenant_id",
        ),
    ],
)
def test_a_planted_key_is_found(parts: list[PrimaryKeyConstraint], named: str) -> None:
    metadata = MetaData()
    hall = PrimaryKeyConstraint("tenant_id", "wheel_id")
    info = table_info(grants={}, columns={}, retention="technical", audit="none")
    Table("hall", metadata, Column("tenant_id", BigInteger), Column("wheel_id", BigInteger), hall, info=info)
    columns = [Column("tenant_id", BigInteger), Column("wheel_id", BigInteger), Column("email", Text)]
    Table("wheel", metadata, *columns, *parts, info=info)
    (finding,) = find_keys_without_tenant(metadata)
    assert named in finding
