"""The same decision as SQL: a predicate over the columns of a query that means what `decide` means, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    CHAR,
    BigInteger,
    ColumnElement,
    Enum,
    Integer,
    String,
    Text,
    and_,
    any_,
    bindparam,
    false,
    func,
    not_,
    or_,
    true,
)
from sqlalchemy.sql.elements import False_

from pitboss.permissions.contracts import Conditions
from pitboss.permissions.errors import InexpressibleScope

Columns = Mapping[str, ColumnElement[Any]]
"""The columns that hold what `Resource` names; what no column holds is unknown for every row."""


def write_predicate(
    allows: Iterable[Conditions], denies: Iterable[Conditions], principal: str | None, columns: Columns
) -> ColumnElement[bool]:
    """Return the predicate of the rows that an allow reaches and no deny matches."""
    reached = [terms for each in allows if (terms := _reach(each, principal, columns)) is not None]
    hits = [list(_list_hits(each, principal, columns)) for each in denies]
    if not reached or not all(hits):  # a deny that speaks of no row holds for each
        return false()
    within = true() if not all(reached) else or_(*(and_(*terms) for terms in reached))
    # Coalesce: an unknown hit is a hit. It also keeps the negation whole, which `= ANY` would not survive inside out.
    outside = [not_(func.coalesce(and_(*terms), true())) for terms in hits]
    return and_(within, *outside) if outside else within


def is_nowhere(predicate: ColumnElement[bool]) -> bool:
    """Return whether a predicate lets no row through, so that its query need not be sent."""
    return isinstance(predicate, False_)


def _reach(conditions: Conditions, principal: str | None, columns: Columns) -> list[ColumnElement[bool]] | None:
    """Return what holds where an allow reaches, all of it known and within; None where it reaches nowhere."""
    terms: list[ColumnElement[bool]] = []
    for attribute, allowed in conditions.sets:
        column = _text(columns, attribute)
        if column is None or not allowed:
            return None
        terms.append(_is_among(column, allowed))
    if conditions.own_only:
        owner = _text(columns, "owner")
        if owner is None or principal is None:
            return None
        terms.append(owner == principal)
    for cap in conditions.caps:
        amount, currency = _amount(columns), _text(columns, "currency")
        if amount is None or currency is None:
            return None
        terms += [amount >= 0, amount <= bindparam(None, cap.max_amount_minor, BigInteger), currency == cap.currency]
    return terms


def _list_hits(conditions: Conditions, principal: str | None, columns: Columns) -> Iterator[ColumnElement[bool]]:
    """Yield what holds where a deny matches: nothing that it speaks of is known to be outside; NULL is *unknown*."""
    for attribute, denied in conditions.sets:
        column = _text(columns, attribute)
        if column is not None:
            # NULL = ANY of an empty array is false, not unknown.
            yield _is_among(column, denied) if denied else column.is_(None)
    owner = _text(columns, "owner") if conditions.own_only else None
    if owner is not None and principal is not None:
        yield owner == principal


def _is_among(column: ColumnElement[Any], values: Iterable[str]) -> ColumnElement[bool]:
    return column == any_(bindparam(None, sorted(values), ARRAY(Text)))


def _text(columns: Columns, attribute: str) -> ColumnElement[Any] | None:
    """Return a column of text; the type of one that pads or translates would compare otherwise than Python."""
    column = columns.get(attribute)
    if column is not None and (not isinstance(column.type, String) or isinstance(column.type, CHAR | Enum)):
        raise InexpressibleScope(f"{attribute}: {column.type} does not hold text as it is written")
    return column


def _amount(columns: Columns) -> ColumnElement[Any] | None:
    column = columns.get("amount_minor")
    if column is not None and not isinstance(column.type, Integer):
        raise InexpressibleScope(f"amount_minor: {column.type} does not hold whole numbers")
    return column
