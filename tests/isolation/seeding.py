"""Rows for two tenants in every table, made from the catalog, with marks that no answer to the other may carry."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
from tests.isolation.catalog import Column, Relation

A, B, NOBODY = 1, 2, 3
"""The attacker, the tenant that is attacked, and a tenant that has no row at all."""
SPARE = 4
"""No tenant: its values stand in a second row of A, to which nothing else refers yet."""
SPECIAL: dict[tuple[str, str], Any] = {
    ("player", "status"): 1,
    ("player", "closed_at"): None,
    ("hold", "captured_minor"): 0,
    ("hold", "released_minor"): 0,
    ("hold", "state"): 1,
    ("round", "first_version"): 1,
    ("outbox_job", "trace"): None,
    ("legal_hold", "table_name"): "",
    ("retention_step", "rows_destroyed"): 0,
}
"""Values that a CHECK asks for; everything else follows from the type."""


def canary(tenant_id: int, *place: str) -> str:
    """Return a text that stands in one place of one tenant and nowhere else."""
    digest = hashlib.sha256("/".join((str(tenant_id), *place)).encode()).hexdigest()[:12]
    return f"canary{tenant_id}x{digest}"


def number(tenant_id: int, column: str, bits: int) -> int:
    """Return a number that tells its tenant and column; the same for columns of one name, so that keys fit."""
    spread = int.from_bytes(hashlib.sha256(column.encode()).digest()[:2])
    if bits == 16:
        return 1
    return tenant_id * 100_000_000 + spread + (0 if bits == 32 else tenant_id * 10**12)


def make_value(tenant_id: int, table: str, column: Column) -> Any:
    """Return what stands in `column` of the row of `tenant_id`."""
    if column.name == "tenant_id":
        return tenant_id
    if (table, column.name) in SPECIAL:
        return SPECIAL[table, column.name]
    # Keys that refer to one another have the same name in every table, so the table is left out of them.
    mark = canary(tenant_id, column.name if column.name.endswith(("_id", "_hash", "key")) else f"{table}.{column.name}")
    match column.type:
        case "bigint":
            return number(tenant_id, column.name, 64)
        case "integer":
            return number(tenant_id, column.name, 32)
        case "smallint":
            return number(tenant_id, column.name, 16)
        case "text":
            return mark
        case "bytea":
            return mark.encode()
        case "jsonb":
            return json.dumps({"mark": mark})
        case "uuid":
            return UUID(bytes=hashlib.sha256(mark.encode()).digest()[:16])
        case "boolean":
            return True
        case "timestamp with time zone":
            return datetime(2020 + tenant_id, 1, 1, tzinfo=UTC)
        case "date":
            return date(1990 + tenant_id, 1, 1)
        case unknown:
            raise AssertionError(f"{table}.{column.name}: the seeding has no value of type {unknown}")


def make_row(tenant_id: int, relation: Relation) -> dict[str, Any]:
    """Return the row of `tenant_id` in a table."""
    return {column.name: make_value(tenant_id, relation.name, column) for column in relation.writable}


def marks_of(tenant_id: int, relations: list[Relation]) -> list[bytes]:
    """Return everything that must not be in an answer to somebody else, as it would look in it."""
    mark = f"canary{tenant_id}x"
    marks = {mark.encode(), mark.encode().hex().encode()}
    for relation in relations:
        for value in make_row(tenant_id, relation).values():
            if isinstance(value, UUID):
                marks |= {str(value).encode(), value.hex.encode()}
            elif isinstance(value, int) and value > 10**6:
                marks.add(str(value).encode())
    return sorted(marks)


def insert_statement(relation: Relation, row: dict[str, Any]) -> str:
    """Return an insert with a numbered parameter for each value of `row`."""
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    overriding = " overriding system value" if any(column.identity for column in relation.columns) else ""
    return f"insert into {relation.name} ({', '.join(row)}){overriding} values ({places})"


async def seed(admin: asyncpg.Connection, relations: list[Relation]) -> None:
    """Give both tenants a row in every table; triggers and foreign keys look away meanwhile."""
    referred = {reference.target for relation in relations for reference in relation.references}
    async with admin.transaction():
        await admin.execute("set local session_replication_role = replica")
        for relation in relations:
            if relation.kind == "r" and relation.has_tenant:
                for values, tenant_id in ((A, A), (B, B), (SPARE, A)):
                    if values == SPARE and relation.name not in referred:
                        continue
                    row = {**make_row(values, relation), "tenant_id": tenant_id}
                    await admin.execute(insert_statement(relation, row), *row.values())


async def fingerprint(admin: asyncpg.Connection, relations: list[Relation], tenant_id: int) -> dict[str, str]:
    """Return a digest of the rows of a tenant, table by table, as nobody but an administrator sees them all.

    What a tenant's own log tells of strangers at its door is left out: a refusal is to be told there.
    """
    without = {"audit_event": " and target_type <> 'refusal'"}
    return {
        relation.name: await admin.fetchval(
            f"select count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' order by t::text)), '')"
            f" from {relation.name} t where tenant_id = $1{without.get(relation.name, '')}",
            tenant_id,
        )
        for relation in relations
        if relation.kind == "r" and relation.has_tenant
    }
