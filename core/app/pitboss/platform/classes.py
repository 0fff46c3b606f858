"""What is wrong with the classes that tables declare; the sorts themselves are the kernel's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import MetaData, Table

from pitboss.kernel.classes import OWN_SCHEDULES, SORTS, ColumnClass, Sort, may_cross
from pitboss_sdk.jurisdiction import RecordClass


def class_of(table: Table, column: str) -> ColumnClass:
    """Return the class of a column; raise `KeyError` where the table does not say it."""
    (sort,) = table.info["columns"][column]
    return SORTS[sort]


def find_class_faults(metadata: MetaData, *, control: bool) -> Iterator[str]:
    """Yield every table and column that is not classified, or stands where what it holds may not be."""
    for table in metadata.tables.values():
        info = table.info
        declared: Mapping[str, list[Sort]] = info.get("columns", {})
        schedule = info.get("retention")
        if schedule not in OWN_SCHEDULES and schedule not in set(RecordClass):
            yield f"{table.name}: no schedule by which its rows go"
        if info.get("audit") not in {"events", "record", "none"}:
            yield f"{table.name}: nothing says whether its changes are audited"
        names = [column.name for column in table.columns]
        yield from (f"{table.name}.{name}: not classified" for name in names if name not in declared)
        yield from (f"{table.name}.{name}: classified, but no such column" for name in declared if name not in names)
        yield from _judge_columns(table.name, declared, tenant=info.get("tenant", True), control=control)


def _judge_columns(table: str, declared: Mapping[str, list[Sort]], *, tenant: bool, control: bool) -> Iterator[str]:
    for name, sorts in declared.items():
        if len(sorts) != 1 or sorts[0] not in SORTS:
            yield f"{table}.{name}: of {len(sorts)} sorts, {', '.join(sorts)}"
            continue
        found = SORTS[sorts[0]]
        if name == "tenant_id" and tenant and sorts[0] != "tenant":
            yield f"{table}.{name}: the tenant's key is of sort tenant"
        if control and not may_cross(found):
            yield f"{table}.{name}: {sorts[0]} may not stand on the control plane"
