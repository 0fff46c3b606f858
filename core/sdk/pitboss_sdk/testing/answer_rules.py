"""Rules about answers, about what a dialect may do beside computing, and about the capabilities of wallet calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

from pitboss_sdk.games import (
    STICKY,
    CallKind,
    DialectResponse,
    LegAnswer,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.money import CURRENCIES, decimal_from_minor
from pitboss_sdk.testing.bench import PLAIN, SAMPLED, SPECIAL, Bench, accept, find_differences
from pitboss_sdk.testing.double import Intent, Written, plugin_folder
from pitboss_sdk.testing.guard import watch

CANARY: Final = "canary-4e1f"
SILENT: Final = (Refusal.INTERNAL, Refusal.UNAVAILABLE, Refusal.SIGNATURE_INVALID)
SENT_AGAIN: Final = (Refusal.UNAVAILABLE, Refusal.UNKNOWN_REFERENCE)
GOOD_ENOUGH: Final = {
    CallKind.FINISH: {Refusal.UNKNOWN_REFERENCE, Refusal.ROUND_CLOSED},
    CallKind.ROLLBACK: {Refusal.UNKNOWN_REFERENCE, Refusal.ALREADY_REVERSED, Refusal.ROLLED_BACK},
}
"""Refusals that a dialect may tell as done: what the vendor wants is so already, and no money moves."""

TRAITS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[WalletCall], bool]]]] = {
    "bet_and_win": (
        ("bet and win", "last bet and win"),
        lambda call: {LegKind.BET, LegKind.WIN} <= {leg.kind for leg in call.legs},
    ),
    "round_finish": (
        ("last win", "last bet and win", "finish"),
        lambda call: call.round_finished or call.kind is CallKind.FINISH,
    ),
    "free_spins": (("free spin",), lambda call: call.free_spin),
    "jackpots": (("jackpot",), lambda call: bool(call.jackpot_pool) or any(leg.jackpot_minor for leg in call.legs)),
}
"""Capabilities of the manifest: the vendor's calls that show them, and how a parsed call shows them."""


def list_parsed(bench: Bench) -> Iterator[tuple[str, Written, WalletCall]]:
    """Yield every call of the vendor that the dialect reads."""
    for name, _, written, raw in bench.list_calls():
        call = bench.read(raw)
        if isinstance(call, WalletCall):
            yield name, written, call


def find_unreadable_answers(bench: Bench) -> Iterator[str]:
    """A call that is carried out is told as done, with this call's transactions, round and balance."""
    for name, written, call, balance_minor in _list_carried_out(bench):
        answer, faults = accept(call, balance_minor), list[str]()
        reading = bench.answer(written, bench.plugin.render(call, answer), faults, name)
        yield from faults
        if reading is None:
            continue
        if not reading.accepted:
            yield f"{name}: is carried out, but told as {reading.code!r}"
        transactions = tuple(leg.transaction for leg in answer.legs)
        if reading.transactions not in {None, transactions}:
            yield f"{name}: transactions are told as {reading.transactions}, not {transactions}"
        if reading.round not in {None, "", answer.round}:
            yield f"{name}: the round is told as {reading.round!r}, not {answer.round!r}"
        truth = _cut(bench, balance_minor, call.currency)
        if reading.balance is not None and Decimal(reading.balance) != truth:
            yield f"{name}: a balance of {truth} is told as {reading.balance}"


def find_wrong_balances(bench: Bench) -> Iterator[str]:
    """A balance is told exactly, or cut (never rounded up) to what the vendor's form can carry."""
    for currency in SAMPLED.values():
        intent = Intent(CallKind.BALANCE, currency=currency)
        if currency in bench.subject.double.refused_currencies or (made := bench.write(intent)) is None:
            continue
        found = bench.read(made[1])
        if not isinstance(found, WalletCall):
            yield f"balance in {currency}: is refused as {found.value}"
            continue
        # The host knows the currency of the wallet, also where the vendor's call does not say it.
        call = msgspec.structs.replace(found, currency=currency)
        for balance_minor in (0, 1, 9, 100, 12_345_678_999, 10**15 + 7, 2**53 + 1, 10**17 + 3):
            truth = _cut(bench, balance_minor, currency)
            faults: list[str] = []
            response = bench.plugin.render(call, WalletAnswer(None, balance_minor))
            reading = bench.answer(made[0], response, faults, f"balance of {truth} {currency}")
            yield from faults
            if reading is not None and (reading.balance is None or Decimal(reading.balance) != truth):
                yield f"a balance of {truth} {currency} is told as {reading.balance}"


def find_unlike_replays(bench: Bench) -> Iterator[str]:
    """The answer to a repetition is the same to the byte, from any process."""
    other = bench.build()
    for name, intent, written, raw in bench.list_calls():
        call, again = bench.read(raw), bench.write(intent)
        if again is None or again[0] != written or not isinstance(call, WalletCall):
            continue  # the vendor wrote the repetition anew and may want that echoed
        for answer in (accept(call), WalletAnswer(Refusal.INSUFFICIENT_FUNDS, 500)):
            rendered = [one.render(call, answer) for one in (bench.plugin, bench.plugin, other)]
            if len({msgspec.json.encode(each) for each in rendered}) != 1:
                yield f"{name}: the same decision is told in different bytes"


def find_refusals_unread(bench: Bench) -> Iterator[str]:
    """Every refusal, before and after a call is read, is one that the vendor understands as a no."""
    for said, written, call, refusal, response in _list_refused(bench):
        faults: list[str] = []
        reading = bench.answer(written, response, faults, said)
        yield from faults
        if reading is not None and reading.accepted:
            kind = None if call is None else call.kind
            if kind is None or refusal not in GOOD_ENOUGH.get(kind, ()):
                yield f"{said}: is told as done"


def find_refusals_alike(bench: Bench) -> Iterator[str]:
    """Lack of money is told as what the vendor takes for it, and nothing else is; a limit may be."""
    for said, written, call, refusal, response in _list_refused(bench):
        if refusal is Refusal.LIMIT_REACHED or (call is not None and call.kind is not CallKind.PLAY):
            continue
        reading = bench.answer(written, response, [], said)
        if reading is None:
            continue
        is_lack = refusal is Refusal.INSUFFICIENT_FUNDS
        if reading.lacks_money and not is_lack:
            yield f"{said}: is told as {reading.code!r}, which the vendor takes for lack of money"
        if is_lack and not reading.lacks_money and _has_balance(said):  # the host knows the balance then
            yield f"{said}: is told as {reading.code!r}, which the vendor does not take for lack of money"


def find_wrong_retries(bench: Bench) -> Iterator[str]:
    """What may succeed later makes the vendor send again, what is remembered does not."""
    for said, written, call, refusal, response in _list_refused(bench):
        if call is None or call.kind is not CallKind.PLAY:
            continue
        reading = bench.answer(written, response, [], said)
        if reading is None:
            continue
        if refusal in SENT_AGAIN and not reading.retries:
            yield f"{said}: the vendor never sends the call again"
        if refusal in STICKY and reading.retries and _has_balance(said):
            yield f"{said}: the vendor sends the call again, and always gets the same no"


def find_told_secrets(bench: Bench) -> Iterator[str]:
    """What went wrong inside, or why a signature was not accepted, is never told."""
    for refusal in SILENT:
        answers = [bench.subject.plugin.render_refusal(refusal, CANARY)]
        answers += [
            bench.plugin.render(call, WalletAnswer(refusal, None, detail=CANARY)) for _, _, call in list_parsed(bench)
        ]
        if any(CANARY.encode() in answer.body for answer in answers):
            yield f"{refusal.value}: the detail is told to the vendor"


def find_invented_balances(bench: Bench) -> Iterator[str]:
    """A refusal tells the balance that the host gives or none, never one of its own."""
    for said, written, _, _, response in _list_refused(bench):
        reading = bench.answer(written, response, [], said)
        if reading is None or reading.balance is None:
            continue
        if not _has_balance(said) or Decimal(reading.balance) != 5:
            yield f"{said}: a balance of {reading.balance} is told"


def find_impure(bench: Bench) -> Iterator[str]:
    """The same call gives the same result, on this instance and on another, before and after other calls."""
    other = bench.build()
    calls = list(bench.list_calls())
    first = [bench.read(raw) for _, _, _, raw in calls]
    second = [bench.read(raw) for _, _, _, raw in reversed(calls)][::-1]
    bench.plugin, kept = other, bench.plugin
    third = [bench.read(raw) for _, _, _, raw in calls]
    bench.plugin = kept
    for (name, *_), one, two, three in zip(calls, first, second, third, strict=True):
        if not one == two == three:
            yield f"{name}: is read differently the second time, or by another instance"


def find_changed_state(bench: Bench) -> Iterator[str]:
    """A call leaves nothing behind: not in the instance, the class, or the plugin's modules."""
    calls = list(bench.list_calls())
    list(_exercise(bench, calls))  # what is made on first use is there now
    before = _fingerprint(bench)
    list(_exercise(bench, calls))
    after = _fingerprint(bench)
    for place in sorted({*before, *after}):
        if before.get(place) != after.get(place):
            yield f"a call changes {place}"


def find_effects(bench: Bench) -> Iterator[str]:
    """A dialect computes: no network, no file, no process, no clock, no chance."""
    calls = list(bench.list_calls())  # made before the watch begins: the vendor may look at a clock
    list(_exercise(bench, calls))  # modules imported on first use are there now
    with watch() as seen:
        try:
            list(_exercise(bench, calls))
        except Exception as error:  # noqa: BLE001 what is raised here was stopped by the watch, and is told
            seen.append(type(error).__name__)
    for effect in sorted(set(seen)):
        yield f"a wallet call does {effect}"


def judge_capability(name: str) -> Callable[[Bench], Iterator[str]]:
    """Return the rule that holds one capability of wallet calls against the behaviour, in both directions."""
    intents, shows = TRAITS[name]

    def find(bench: Bench) -> Iterator[str]:
        declared = bool(getattr(bench.subject.capability, name))
        shown = [said for said, _, call in list_parsed(bench) if shows(call)]
        if not declared:
            for said in shown:
                yield f"{name} is not declared, but a {said!r} call is read as one"
            return
        is_shown = False
        for said, intent, _, raw in bench.list_calls({said: SPECIAL[said] for said in intents}):
            found = bench.read(raw)
            if isinstance(found, WalletCall):
                is_shown = is_shown or not list(find_differences(intent, found))
            elif all(getattr(bench.subject.capability, trait) for trait in _list_traits(intent)):
                yield f"{name} is declared, but a {said!r} call is refused as {found.value}"
        if not is_shown:
            yield f"{name} is declared, but none of the vendor's calls {', '.join(map(repr, intents))} is read as one"

    find.__doc__ = f"`{name}` is declared if and only if wallet calls show it."
    return find


def find_wrong_tombstones(bench: Bench) -> Iterator[str]:
    """A rollback of what never came is answered as `rollback_unknown` declares: done, or refused."""
    declared = bench.subject.capability.rollback_unknown
    made = bench.write(PLAIN["rollback"])
    call = None if made is None else bench.read(made[1])
    if made is None or not isinstance(call, WalletCall):
        yield "a rollback is not read"
        return
    nothing = WalletAnswer(None, 1_000, "", tuple(LegAnswer(leg.reference, "") for leg in call.legs))
    faults: list[str] = []
    reading = bench.answer(made[0], bench.plugin.render(call, nothing), faults, "rollback of the unseen")
    yield from faults
    if reading is not None and reading.accepted is not (declared == "tombstone"):
        yield f"rollback_unknown is {declared!r}, but it is told as {reading.code!r}"
    if reading is not None and reading.accepted and any(reading.transactions or ()):
        yield "a rollback that booked nothing is told with a transaction"


def _exercise(bench: Bench, calls: Sequence[tuple[str, Intent, Written, RawCall]]) -> Iterator[object]:
    """Put the calls and every kind of answer through the dialect."""
    for name, _, written, raw in calls:
        found = bench.read(raw)
        bench.read(msgspec.structs.replace(raw, headers={}))
        bench.read(msgspec.structs.replace(raw, body=raw.body[: len(raw.body) // 2]))
        if isinstance(found, WalletCall):
            yield name, written, bench.plugin.render(found, accept(found))
            yield bench.plugin.render(found, WalletAnswer(Refusal.INSUFFICIENT_FUNDS, 500))
    for refusal in Refusal:
        yield bench.subject.plugin.render_refusal(refusal, "why")


def _list_refused(
    bench: Bench,
) -> Iterator[tuple[str, Written | None, WalletCall | None, Refusal, DialectResponse]]:
    for refusal in Refusal:
        early = bench.subject.plugin.render_refusal(refusal, "why")
        yield f"{refusal.value} before a call is read", None, None, refusal, early
        for name, written, call in list_parsed(bench):
            exact = 5 * 10 ** CURRENCIES[call.currency or "EUR"].decimals
            for balance_minor, said in ((None, ""), (exact, f", balance {exact}")):
                answer = WalletAnswer(refusal, balance_minor, detail="why")
                yield f"{name}, {refusal.value}{said}", written, call, refusal, bench.plugin.render(call, answer)


def _list_carried_out(bench: Bench) -> Iterator[tuple[str, Written, WalletCall, int]]:
    """Yield calls that follow upon each other, and the balance after each: another player's, then another movement."""
    for name, intent in {**PLAIN, **SPECIAL}.items():
        again = msgspec.structs.replace(intent, account=f"{intent.account[:-1]}9")
        movements = tuple(msgspec.structs.replace(each, reference=f"{each.reference}-b") for each in intent.movements)
        other = msgspec.structs.replace(intent, movements=movements)
        for balance_minor, each, said in (
            (1_000, intent, ""),
            (2_500, again, ", another's"),
            (70, other, ", the next"),
        ):
            for told, _, written, raw in bench.list_calls({name: each}):
                call = bench.read(raw)
                if isinstance(call, WalletCall):
                    yield f"{told}{said}", written, call, balance_minor


def _list_traits(intent: Intent) -> Iterator[str]:
    """Yield the capabilities that a vendor's call needs."""
    plain = msgspec.structs.replace(intent, way=0)
    yield from (trait for trait, (intents, _) in TRAITS.items() if plain in [SPECIAL[said] for said in intents])


def _cut(bench: Bench, balance_minor: int, currency: str) -> Decimal:
    """Return a balance in the main unit, without what the vendor's form cannot carry."""
    wire, decimals = bench.subject.double.amount_decimals, CURRENCIES[currency].decimals
    lost = 0 if wire is None else max(0, decimals - wire)
    return Decimal(decimal_from_minor(balance_minor // 10**lost * 10**lost, decimals))


def _has_balance(said: str) -> bool:
    return ", balance " in said


def _fingerprint(bench: Bench) -> dict[str, str]:
    """Return what is kept in the instance, the class and the modules of the plugin, as text by place."""
    plugin = bench.subject.plugin
    marks = {f"self.{key}": _text(value) for key, value in _attributes(bench.plugin)}
    marks |= {f"{plugin.__name__}.{key}": _text(value) for key, value in vars(plugin).items()}
    package = plugin.__module__.rpartition(".")[0]
    folder = plugin_folder(plugin)
    for name, module in list(sys.modules.items()):
        if name == plugin.__module__ or (package and name.startswith(f"{package}.") and folder.is_dir()):
            marks |= {f"{name}.{key}": _text(value) for key, value in vars(module).items() if not key.startswith("__")}
    return marks


def _attributes(instance: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(instance, "__dict__", {}).items()
    for each in type(instance).__mro__:
        for slot in cast("tuple[str, ...]", getattr(each, "__slots__", ())):
            if hasattr(instance, slot):
                yield slot, getattr(instance, slot)


def _text(value: Any, depth: int = 0) -> str:
    """Return containers and plain values by content, anything else by identity."""
    if depth < 6:
        if isinstance(value, Mapping):
            parts = cast("Mapping[Any, Any]", value).items()
            return "{" + ",".join(f"{_text(k, depth + 1)}:{_text(v, depth + 1)}" for k, v in parts) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ",".join(_text(part, depth + 1) for part in cast("list[Any]", value)) + "]"
        if isinstance(value, (set, frozenset)):
            return "(" + ",".join(sorted(_text(part, depth + 1) for part in cast("set[Any]", value))) + ")"
    if value is None or isinstance(value, (str, bytes, bytearray, int, float)):
        return repr(value)
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict) and not callable(value) and depth < 6:
        return f"{id(value)}{_text(own, depth + 1)}"
    return str(id(value))
