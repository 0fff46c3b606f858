"""Rules about the vendor's own books, which a plugin may be able to ask for, and broken copies for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec

from pitboss_sdk.games import ListedState, ListedTransaction, TransactionsRequest
from pitboss_sdk.outcome import Done, Refused, Unknown
from pitboss_sdk.testing.bench import Bench
from pitboss_sdk.testing.double import Subject
from pitboss_sdk.testing.driver_rules import SPAN, Wire, list_transactions

replace = msgspec.structs.replace
Planted = Iterator[tuple[str, str, Subject]]
Alter = Callable[..., Subject]

ROUND: Final = TransactionsRequest(round="round-1", deadline_ms=4_000)
_OTHERS: Final = {
    "since_us": (SPAN, replace(SPAN, since_us=SPAN.since_us - 60_000_000)),
    "until_us": (SPAN, replace(SPAN, until_us=SPAN.until_us + 60_000_000)),
    "round": (ROUND, replace(ROUND, round="round-2")),
}
"""Two requests each that differ in one field."""


def find_list_undeclared(bench: Bench) -> Iterator[str]:
    """`transaction_list` is declared if and only if the vendor's own books can be asked for."""
    there = hasattr(bench.plugin, "list_transactions")
    if there is not bench.subject.capability.transaction_list:
        yield f"transaction_list is {'not ' if there else ''}declared, but list_transactions is {'' if there else 'not '}there"
        return
    if not there:
        return
    wire = Wire(bench.subject.double)
    outcome = list_transactions(bench, wire)
    if not _books(bench) and (wire.sent or not isinstance(outcome, Refused)):
        yield f"the vendor has no list (transactions), but asking for it ends as {outcome} after {len(wire.sent)} calls"
    if _books(bench) and not isinstance(outcome, Done):
        yield f"transaction_list is declared, but asking for it ends as {outcome}"


def find_books_misread(bench: Bench) -> Iterator[str]:
    """What the vendor's books hold is read as it stands there, and exactly what is wanted is asked for."""
    if not bench.subject.capability.transaction_list:
        return
    books = _books(bench)
    for name, request in (("a span", SPAN), ("a round", ROUND)):
        told = _done(list_transactions(bench, Wire(bench.subject.double), request))
        if not books and told is not None:
            yield f"{name}: the vendor has no list (transactions), but {len(told)} transactions are told"
        if books and told != books:
            yield f"{name}: read is {told}, the books hold {books}"
    if not books:
        return
    for field, (one, other) in _OTHERS.items():
        first, second = Wire(bench.subject.double), Wire(bench.subject.double)
        list_transactions(bench, first, one)
        list_transactions(bench, second, other)
        if [each.body for each in first.sent] == [each.body for each in second.sent] and (
            [each.url for each in first.sent] == [each.url for each in second.sent]
        ):
            yield f"{field} of a request never reaches the vendor"
        for request in first.sent:
            if not 0 < request.timeout_ms <= one.deadline_ms:
                yield f"with {one.deadline_ms} ms left the vendor is given {request.timeout_ms} ms"


def plant_lists(subject: Subject, subclass: Alter, capable: Alter) -> Planted:
    """Yield copies that misread the vendor's books, or say the opposite of what they can."""
    base: Any = subject.plugin
    declared = subject.capability.transaction_list

    async def invent(_self: Any, _http: Any, _request: Any) -> Any:
        return Done(())

    if not declared:
        yield "capability.transaction_list", "it is declared and not there", capable(subject, transaction_list=True)
        told = capable(subclass(subject, list_transactions=invent), transaction_list=True)
        yield "transactions.meaning", "books that nobody keeps are told", told
        yield "static.contract", "a list that is not declared", subclass(subject, list_transactions=invent)
        return
    yield "capability.transaction_list", "it is there and not declared", capable(subject, transaction_list=False)
    yield "static.contract", "a list that is not there", subclass(subject, list_transactions=None)

    def mutant(change: Callable[[tuple[ListedTransaction, ...]], Any]) -> Subject:
        async def altered(self: Any, http: Any, request: Any) -> Any:
            outcome = await base.list_transactions(self, http, request)
            told = _done(outcome)
            return outcome if told is None else change(told)

        return subclass(subject, list_transactions=altered)

    def each(change: Callable[[ListedTransaction], ListedTransaction]) -> Subject:
        return mutant(lambda told: Done(tuple(map(change, told))))

    def halve(one: ListedTransaction) -> ListedTransaction:
        return replace(one, amount_minor=one.amount_minor // 2)

    def cut(one: ListedTransaction) -> ListedTransaction:
        return replace(one, happened_at_us=one.happened_at_us // 3_600_000_000 * 3_600_000_000)

    def always(self: Any, http: Any, request: Any) -> Any:
        return base.list_transactions(self, http, SPAN if not request.round else ROUND)

    yield "capability.transaction_list", "it never succeeds", mutant(lambda _told: Unknown("no"))
    yield "transactions.meaning", "the last is lost", mutant(lambda told: Done(told[:-1]))
    yield "transactions.meaning", "amounts are halved", each(halve)
    yield "transactions.meaning", "states are not read", each(lambda one: replace(one, state=ListedState.BOOKED))
    yield "transactions.meaning", "times are cut to hours", each(cut)
    yield "transactions.meaning", "always the same span", subclass(subject, list_transactions=_as_coroutine(always))


def _as_coroutine(call: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapped(self: Any, http: Any, request: Any) -> Any:
        return await call(self, http, request)

    return wrapped


def _done(outcome: Any) -> tuple[ListedTransaction, ...] | None:
    """Return what a `Done` holds; None for any other outcome."""
    return cast("Any", outcome).value if isinstance(outcome, Done) else None


def _books(bench: Bench) -> tuple[ListedTransaction, ...]:
    return tuple(getattr(bench.subject.double, "transactions", ()))
