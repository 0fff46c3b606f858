"""Statements by which tenant A tries to reach the rows of tenant B, generated for one relation from the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.isolation.catalog import Column, Relation
from tests.isolation.seeding import NOBODY, SPARE, A, B, insert_statement, make_row, make_value


@dataclass(frozen=True)
class Attack:
    """One statement, and its twin that asks for what does not exist; both must end alike.

    `kind` names what is tried. A statement that may touch own rows has no twin: it must only not touch B's.
    """

    kind: str
    statement: str
    parameters: tuple[Any, ...] = ()
    twin: tuple[Any, ...] | None = None
    twin_statement: str = ""

    @property
    def twin_call(self) -> tuple[str, tuple[Any, ...]] | None:
        if self.twin is None:
            return None
        return self.twin_statement or self.statement, self.twin


def read_attacks(relation: Relation) -> Iterator[Attack]:
    """Yield attempts to see B's rows."""
    name = relation.name
    if not relation.has_tenant:
        return
    yield Attack("read all", f"select * from {name}")
    yield Attack("read as text", f"select t::text, to_jsonb(t)::text from {name} t")
    yield Attack("read", f"select * from {name} where tenant_id = $1", (B,), (NOBODY,))
    yield Attack("read other", f"select * from {name} where tenant_id <> $1", (A,), (A,))
    yield Attack("count", f"select count(*) from {name} where tenant_id = $1", (B,), (NOBODY,))
    yield Attack("exists", f"select exists (select from {name} where tenant_id = $1)", (B,), (NOBODY,))
    yield Attack("group", f"select tenant_id, count(*) from {name} group by tenant_id")
    yield Attack(
        "outer join",
        f"select t.* from (values ($1::bigint)) w(x) left join {name} t on t.tenant_id = w.x",
        (B,),
        (NOBODY,),
    )
    yield Attack("copy", f"copy (select * from {name}) to stdout")
    if relation.kind != "v":
        yield Attack("copy table", f"copy {name} to stdout")
        yield Attack("by place", f"select * from {name} where ctid = any (array['(0,1)', '(0,2)', '(0,3)']::tid[])")
        yield Attack("lock", f"select * from {name} where tenant_id = $1 for update", (B,), (NOBODY,))
        yield Attack("sample", f"select * from {name} tablesample system (100)")
    # Conditions that would speak if they were evaluated on rows behind the wall.
    yield Attack(
        "divide", f"select 1 from {name} where 1 / (case when tenant_id = $1 then 0 else 1 end) = 1", (B,), (NOBODY,)
    )
    for column in relation.columns:
        yield Attack(
            "cast",
            f"select 1 from {name} where (case when tenant_id = $1 then ({column.name}::text || '?')::int else 0 end) = 1",
            (B,),
            (NOBODY,),
        )
    mine, theirs = make_row(A, relation), make_row(B, relation)
    if relation.key:
        keys = [column for column in relation.key if column != "tenant_id"]
        where = " and ".join(f"{column} = ${place}" for place, column in enumerate(keys, 1)) or "true"
        missing = tuple(_missing(relation, column) for column in keys)
        yield Attack("by key", f"select * from {name} where {where}", tuple(theirs[key] for key in keys), missing)
    assert mine["tenant_id"] == A


def _missing(relation: Relation, column: str) -> Any:
    found = next(each for each in relation.columns if each.name == column)
    value = make_value(NOBODY, relation.name, found)
    # Small numbers have no room to tell tenants apart.
    return 9 if found.type == "smallint" else value


def write_attacks(relation: Relation) -> Iterator[Attack]:
    """Yield attempts to change B's rows, to plant rows with B, and to learn from conflicts what B has."""
    if relation.kind != "r" or not relation.has_tenant:
        return
    name = relation.name
    theirs, fresh, spare = make_row(B, relation), _fresh_row(relation), make_row(SPARE, relation)
    # As A's own row with B's values, and with values that nobody has: both must end alike.
    disguised = {**theirs, "tenant_id": A}
    for row in (disguised, fresh):
        for reference in relation.references:
            row |= {column: spare[column] for column in reference.columns if column != "tenant_id"}
    for column in relation.columns:
        if column.generated or column.name == "tenant_id":
            continue
        yield Attack(
            "update",
            f"update {name} set {column.name} = {column.name} where tenant_id = $1 returning *",
            (B,),
            (NOBODY,),
        )
    yield Attack("delete", f"delete from {name} where tenant_id = $1 returning *", (B,), (NOBODY,))
    yield Attack("pull", f"update {name} set tenant_id = $1 where tenant_id = $2", (A, B), (A, NOBODY))
    yield Attack("push", f"update {name} set tenant_id = $1 where tenant_id = $2", (B, A), (NOBODY, A))
    yield Attack("plant", insert_statement(relation, theirs), tuple(theirs.values()), _as(NOBODY, theirs))
    yield Attack(
        "plant and see",
        f"{insert_statement(relation, theirs)} returning *",
        tuple(theirs.values()),
        _as(NOBODY, theirs),
    )
    yield Attack(
        "upsert",
        f"{insert_statement(relation, theirs)} on conflict do nothing",
        tuple(theirs.values()),
        _as(NOBODY, theirs),
    )
    yield Attack(
        "upsert over",
        f"{insert_statement(relation, theirs)} on conflict ({', '.join(relation.key)})"
        f" do update set tenant_id = excluded.tenant_id returning *",
        tuple(theirs.values()),
        _as(NOBODY, theirs),
    )
    yield Attack(
        "merge",
        f"merge into {name} t using (values ($1::bigint)) w(x) on t.tenant_id = w.x"
        " when matched then update set tenant_id = w.x when not matched then do nothing",
        (B,),
        (NOBODY,),
    )
    yield Attack("same key", insert_statement(relation, disguised), tuple(disguised.values()), tuple(fresh.values()))
    yield Attack("truncate", f"truncate {name}")
    for reference in relation.references:
        tied, loose = dict(fresh), dict(fresh)
        for column in reference.columns:
            if column != "tenant_id":
                tied[column], loose[column] = theirs[column], _missing(relation, column)
        yield Attack("refer", insert_statement(relation, tied), tuple(tied.values()), tuple(loose.values()))
    yield Attack("update all", f"update {name} set {_harmless(relation.columns)} returning tenant_id")
    yield Attack("delete all", f"delete from {name} returning tenant_id")


def _harmless(columns: tuple[Column, ...]) -> str:
    """Return an assignment that changes nothing, of the column whose change is granted most often."""
    preferred = ("real_minor", "status", "enabled", "done_at", "updated_at")
    names = [column.name for column in columns if not column.generated and column.name != "tenant_id"]
    chosen = next((name for name in preferred if name in names), names[-1])
    return f"{chosen} = {chosen}"


def _as(tenant_id: int, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple({**row, "tenant_id": tenant_id}.values())


def _fresh_row(relation: Relation) -> dict[str, Any]:
    """Return a row of A with values that nobody has."""
    return {**make_row(NOBODY, relation), "tenant_id": A}
