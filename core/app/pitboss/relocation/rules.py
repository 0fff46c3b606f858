"""Which tables travel and in which form, which step of a move may follow which, and what two cells differ in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from pitboss.directory.contracts import TenantState
from pitboss.relocation.contracts import CellReport, MoveState, Shape

LOG_TABLES: Final = frozenset({"audit_log", "audit_entry", "audit_tile", "audit_checkpoint", "audit_cosignature"})
"""The log of a cell ends with the tenant's life there and travels as a signed package; the new cell begins its own."""
PACKED_ONLY: Final = frozenset(
    {
        "capture",
        "capture_reconciliation",
        "audit_seal",
        "round_log",
        "round_segment",
        "round_tile",
        "journal_sealed",
    }
)
"""Evidence of the source, by its transactions and under its keys: it stays true in the kit, and is made anew of the
same bookings and events in the target."""
LOCAL_COLUMNS: Final[Mapping[str, int]] = {"audit_event.written_in": 0, "audit_delivery.next_seq": 0}
"""Numbers that mean something on their own server alone, and what they begin with in the target: there every event counts
as early, and is told again to whom events are sent."""
REWRAPPED_COLUMNS: Final = frozenset({"key_epoch.wrapped_key", "key_epoch.key_version"})
"""What travels wrapped for the source and arrives wrapped for the target: the same key in other bytes."""

_ORDER: Final = (
    MoveState.PLANNED,
    MoveState.FROZEN,
    MoveState.EXPORTED,
    MoveState.IMPORTED,
    MoveState.COMPARED,
    MoveState.SWITCHED,
    MoveState.SHREDDED,
)
ENDED: Final = frozenset({MoveState.SHREDDED, MoveState.ROLLED_BACK})


def next_state(state: MoveState) -> MoveState | None:
    """Return the step that follows; None where the move has ended."""
    return None if state in ENDED else _ORDER[_ORDER.index(state) + 1]


def may_follow(before: MoveState, after: MoveState) -> bool:
    """Return whether a move may go from one state to the other; back only before anybody was sent to the new cell."""
    if after is MoveState.ROLLED_BACK:
        return before not in ENDED and _ORDER.index(before) < _ORDER.index(MoveState.SWITCHED)
    return next_state(before) is after


def find_refusals(
    state: TenantState, places: tuple[str, str], localities: tuple[str, str], left: Iterable[str]
) -> list[str]:
    """Return why a tenant may not move from the first to the second of `places`; `left` are cells that it left."""
    (source, target), (zone, other_zone) = places, localities
    refusals: list[str] = []
    if state not in {TenantState.ACTIVE, TenantState.SUSPENDED}:
        refusals.append(f"the tenant is {state}; only an active or a suspended one moves")
    if source == target:
        refusals.append(f"the tenant lives in {target} already")
    if zone != other_zone:
        refusals.append(f"{source} lies in {zone} and {target} in {other_zone}: data does not leave its zone")
    if target in left:
        refusals.append(f"the tenant has lived in {target}: its audit log there has ended and cannot be continued")
    return refusals


def travelling(shape: Shape) -> list[str]:
    """Return the columns of a table that a kit holds."""
    return sorted(name for name in shape.columns if f"{shape.name}.{name}" not in LOCAL_COLUMNS)


def beginning(shape: Shape) -> dict[str, int]:
    """Return the columns of a table that begin anew, with what they begin with."""
    return {name: LOCAL_COLUMNS[key] for name in shape.columns if (key := f"{shape.name}.{name}") in LOCAL_COLUMNS}


def compared(shape: Shape) -> list[str]:
    """Return the columns of a table that must be the same in both cells."""
    return [name for name in travelling(shape) if f"{shape.name}.{name}" not in REWRAPPED_COLUMNS]


def digest_schema(shapes: Sequence[Shape]) -> str:
    """Return the digest of tables and columns; cells exchange tenants only where it is the same."""
    lines = [f"{shape.name} {name} {kind}" for shape in shapes for name, kind in sorted(shape.columns.items())]
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def find_differences(source: CellReport, target: CellReport) -> Iterator[str]:
    """Yield what the target has otherwise than the source had; the log of the source is compared by its root."""
    yield from _differ("table", source.tables, target.tables)
    yield from _differ("wallets in", source.sums.players, target.sums.players)
    before, after = ({each.account_id: each for each in report.sums.house} for report in (source, target))
    yield from _differ("house account", before, after)


def _differ(what: str, source: Mapping[Any, object], target: Mapping[Any, object]) -> Iterator[str]:
    for name in sorted({*source, *target}, key=str):
        if source.get(name) != target.get(name):
            yield f"{what} {name}: {source.get(name)} in the source, {target.get(name)} in the target"
