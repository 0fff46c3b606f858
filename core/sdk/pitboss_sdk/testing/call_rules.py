"""Rules about wallet calls: signature, reading, amounts, references, repetition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

import msgspec

from pitboss_sdk.games import MAX_REFERENCE_LENGTH, CallKind, DialectRefusal, LegKind, RawCall, Refusal, WalletCall
from pitboss_sdk.money import CURRENCIES, decimal_from_minor
from pitboss_sdk.testing.bench import (
    BACK,
    BET,
    PLAIN,
    SAMPLED,
    SPECIAL,
    WIN,
    Bench,
    find_differences,
    find_excesses,
    is_exact,
)
from pitboss_sdk.testing.double import Intent, Movement

STRANGE_OPERATIONS: Final = (
    *("", "balance", "bet", "win", "betwin", "bet_win", "play", "rollback", "refund", "cancel", "finish", "close"),
    *("end", "freespins", "free_spin", "promo", "jackpot", "check", "info", "authenticate", "debit", "credit"),
    *("adjustment", "transfer", "withdraw", "deposit", "Balance", "bet/", "../bet", "__init__", "bet\x00", "b" * 200),
)
GARBAGE: Final = (b"", b"{", b"[]", b"null", b"7", b'""', b"\xff\xfe", b"<a/>", b"a=b", b"[" * 50_000, b'{"a":' * 9_000)

BEYOND_FLOATS: Final = (2**53 + 1, 10**17 + 3, 2**63 - 1)
"""Amounts that no float holds: they are read to the last unit, or refused."""


def find_genuine_refused(bench: Bench) -> Iterator[str]:
    """A call that the vendor signed is accepted by `verify`."""
    for name, _, _, call in bench.list_calls():
        try:
            bench.plugin.verify(call)
        except DialectRefusal as refused:
            yield f"{name}: verify refuses the vendor's own signature: {refused.refusal.value}"


def find_unsigned(bench: Bench) -> Iterator[str]:
    """A call without a signature is refused."""
    header = bench.subject.double.signature_header
    for name, _, _, call in bench.list_calls():
        rest = {key: value for key, value in call.headers.items() if key != header}
        if len(rest) == len(call.headers):
            yield f"{name}: the double signs no call in the header {header!r} that it names"
            return
        for headers in (rest, {}, {**rest, header: ""}):
            yield from find_let_through(bench, f"{name}, unsigned", msgspec.structs.replace(call, headers=headers))


def find_truncated(bench: Bench) -> Iterator[str]:
    """A signature that lacks a part is refused."""
    for name, _, _, call in bench.list_calls():
        claimed = call.headers[bench.subject.double.signature_header]
        for part in (claimed[: len(claimed) // 2], claimed[1:], claimed[:8], claimed[:-6]):
            yield from find_let_through(bench, f"{name}, signature cut", _signed_by(bench, call, part))


def find_altered(bench: Bench) -> Iterator[str]:
    """A signature that is not to the letter what the vendor sent is refused."""
    for name, _, _, call in bench.list_calls():
        claimed = call.headers[bench.subject.double.signature_header]
        wrong = [
            claimed[:at] + ("0" if claimed[at] != "0" else "1") + claimed[at + 1 :]
            for at in range(0, len(claimed), max(1, len(claimed) // 16))
        ]
        # Capitals are another signature, unless the vendor's own document says that they count for nothing.
        if not getattr(bench.subject.double, "signature_in_any_case", False):
            wrong += [text for text in (claimed.upper(), claimed.lower(), claimed.swapcase()) if text != claimed]
        wrong += ["0" * len(claimed), "é" * len(claimed), claimed + "é", claimed + claimed, "\ud800", "None"]
        for text in wrong:
            yield from find_let_through(bench, f"{name}, signature altered", _signed_by(bench, call, text))


def find_stranger_accepted(bench: Bench) -> Iterator[str]:
    """A call signed with another key is refused."""
    for name, _, written, _ in bench.list_calls():
        call = bench.call(written.operation, written.body, stranger=True)
        yield from find_let_through(bench, f"{name}, signed with another key", call)


def find_changed_body_accepted(bench: Bench) -> Iterator[str]:
    """A signature holds for exactly the bytes that were signed."""
    for name, _, _, call in bench.list_calls():
        body, middle = call.body, len(call.body) // 2
        flipped = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in (0, middle, len(body) - 1)]
        for changed in (*flipped, body + b" ", b" " + body, body + b"\n", body[:-1], b""):
            yield from find_let_through(
                bench, f"{name}, body changed after signing", msgspec.structs.replace(call, body=changed)
            )


def find_silent_operations(bench: Bench) -> Iterator[str]:
    """Every operation that the manifest declares is one that the vendor calls and the dialect reads."""
    spoken = {call.operation for _, _, _, call in bench.list_calls() if isinstance(bench.read(call), WalletCall)}
    for operation in bench.subject.capability.operations:
        if operation not in spoken:
            yield f"operation {operation!r} is declared, but no call of the vendor comes through it"


def find_undeclared_operations(bench: Bench) -> Iterator[str]:
    """An operation that the manifest does not declare is refused as unknown, whatever its body."""
    declared = set(bench.subject.capability.operations)
    bodies = {call.operation: call.body for _, _, _, call in bench.list_calls()}
    for operation in sorted({*STRANGE_OPERATIONS, *bodies} - declared):
        for body in (*bodies.values(), b""):
            found = bench.read(bench.call(operation, body))
            if found is not Refusal.OPERATION_UNKNOWN:
                yield f"operation {operation[:20]!r} is not declared, but is answered with {_name(found)}"
                break


def find_misread(bench: Bench) -> Iterator[str]:
    """A call says what the vendor meant: kind, whose, amounts, references, in order."""
    for name in PLAIN:
        if bench.write(PLAIN[name]) is None:
            yield f"the double cannot write {name!r}, which every vendor can say"
    for intents in (PLAIN, SPECIAL):
        for name, intent, _, call in bench.list_calls(intents):
            found = bench.read(call)
            if isinstance(found, WalletCall):
                yield from (f"{name}: {difference}" for difference in find_differences(intent, found))
            elif intents is PLAIN:
                yield f"{name}: is refused as {found.value}"


def find_garbage_read(bench: Bench) -> Iterator[str]:
    """A body that is no call is refused as malformed."""
    for operation in bench.subject.capability.operations:
        for body in GARBAGE:
            found = bench.read(bench.call(operation, body[: bench.plugin.max_body_bytes]))
            if found is not Refusal.MALFORMED:
                yield f"{operation} with body {body[:20]!r} is answered with {_name(found)}, not malformed"


def find_hostile_let_through(bench: Bench) -> Iterator[str]:
    """Whatever the bytes, a call is refused or within what the host can store; nothing else is raised."""
    chance = Random(20)  # noqa: S311 the same bytes each time
    for name, _, _, call in bench.list_calls():
        for _ in range(150):
            body = bytearray(call.body)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(body) + 1)
                what = chance.choice(
                    (b'"', b"\x00", b"9" * 30, b"\xff", b"{", b"}", b",", b"-", b"e9", b"null", b"\\u0000")
                )
                body[at : at + chance.randint(0, 3)] = what
            found = bench.read(bench.call(call.operation, bytes(body)))
            if isinstance(found, WalletCall):
                yield from (f"{name}, with damaged bytes {bytes(body)!r}: {excess}" for excess in find_excesses(found))


def find_oversize_read(bench: Bench) -> Iterator[str]:
    """A body above `max_body_bytes` is refused as malformed, and the longest genuine call fits below."""
    limit = bench.plugin.max_body_bytes
    for name, intent, _, call in bench.list_calls():
        long = bench.call(call.operation, call.body + b" " * (limit + 1 - len(call.body)))
        found = bench.read(long)
        if found is not Refusal.MALFORMED:
            yield f"{name} of {len(long.body)} bytes is answered with {_name(found)}, not malformed"
        made = bench.write(_lengthen(intent, MAX_REFERENCE_LENGTH))
        if made is not None and len(made[1].body) > limit:
            yield f"{name} with the longest references has {len(made[1].body)} bytes, more than max_body_bytes"


def find_inexact(bench: Bench) -> Iterator[str]:
    """An amount that the currency holds is read exactly, in currencies of 0, 2, 3 and 8 decimals."""
    wire = bench.subject.double.amount_decimals
    for decimals, currency in SAMPLED.items():
        finest = min(decimals, decimals if wire is None else wire)
        if currency in bench.subject.double.refused_currencies:
            yield from _find_currency_spoken(bench, currency)
            continue
        amounts = ["1", "7", "100", "12345678"]
        if finest:
            amounts += [
                f"0.{'1'.rjust(finest, '0')}",
                f"19.{'9' * finest}",
                f"1.{'1'.ljust(finest, '0')}",
                "0.1",
                "0.7",
            ]
        for amount in amounts:
            yield from _find_amount_misread(bench, currency, amount)
        for amount_minor in BEYOND_FLOATS:
            lost = 10 ** (decimals - finest)
            yield from _find_amount_misread(
                bench, currency, decimal_from_minor(amount_minor // lost * lost, decimals), is_vast=True
            )
    unknown = bench.write(Intent(CallKind.BALANCE, currency="XXQ"))
    if unknown is not None and bench.read(unknown[1]) is not Refusal.CURRENCY_MISMATCH:
        yield "a currency that the host does not know is not refused as currency_mismatch"


def find_rounded(bench: Bench) -> Iterator[str]:
    """An amount that the currency cannot hold, or that moves nothing or backwards, is refused and never rounded."""
    wire = bench.subject.double.amount_decimals
    for decimals, currency in SAMPLED.items():
        if currency in bench.subject.double.refused_currencies:
            continue
        finer = decimals + 1
        amounts = ["-1", "-0.01"[: 2 + decimals + 1] if decimals else "-7", str(2**63)]
        if wire is None or finer <= wire:
            amounts += [f"0.{'1'.rjust(finer, '0')}", f"1.{'9' * finer}", f"2.{'5'.rjust(finer, '0')}"]
        for kind in (LegKind.BET, LegKind.WIN):
            for amount in amounts:
                made = bench.write(Intent(CallKind.PLAY, currency=currency, movements=(Movement(kind, "m-1", amount),)))
                if made is None:
                    continue
                found = bench.read(made[1])
                if found is not Refusal.MALFORMED:
                    yield f"{kind.name.lower()} of {amount} {currency} is answered with {_name(found)}, not malformed"
        made = bench.write(Intent(CallKind.PLAY, currency=currency, movements=(Movement(LegKind.BET, "m-1", "0"),)))
        found = None if made is None else bench.read(made[1])
        if isinstance(found, WalletCall) and any(leg.amount_minor <= 0 for leg in found.legs):
            yield f"a bet of 0 {currency} becomes a movement of nothing"


def find_references_beyond(bench: Bench) -> Iterator[str]:
    """A reference that cannot be stored is malformed: too long, empty, with characters that are none."""
    for name, intent, _, call in bench.list_calls(PLAIN):
        good = bench.read(call)
        for field, bad in _spoil(intent):
            if not isinstance(good, WalletCall) or not _value_of(good, field):
                continue  # the vendor's call has no place for it
            try:
                spoilt = bench.write(bad)
            except UnicodeError:
                continue  # the vendor's encoding cannot carry it
            found = None if spoilt is None else bench.read(spoilt[1])
            if found is not None and found is not Refusal.MALFORMED:
                yield f"{name}: {field} {_value_of(bad, field)[:12]!r} is answered with {_name(found)}, not malformed"


def find_references_changed(bench: Bench) -> Iterator[str]:
    """A reference is kept to the letter, up to the longest that the host stores."""
    for name, intent, _, _ in bench.list_calls(PLAIN):
        for changed in (_lengthen(intent, MAX_REFERENCE_LENGTH), _prefix(intent, "Aa-_:./ "), _prefix(intent, "0007")):
            made = bench.write(changed)
            if made is None:
                continue
            found = bench.read(made[1])
            if not isinstance(found, WalletCall):
                yield f"{name}: references that the host can store are refused as {found.value}"
                continue
            yield from (f"{name}: {difference}" for difference in find_differences(changed, found))


def find_unlike_repeats(bench: Bench) -> Iterator[str]:
    """The vendor's repetition of a call becomes the same call, whatever else the vendor writes anew around it."""
    for name, intent, _, call in bench.list_calls():
        again = bench.write(intent)
        if again is not None and bench.read(call) != bench.read(again[1]):
            yield f"{name}: a repetition is read as another call"


def find_twice_in_one(bench: Bench) -> Iterator[str]:
    """Two movements of one call never share a reference, and none reverses itself."""
    same = msgspec.structs.replace
    doubles = {
        "a bet and a win": Intent(CallKind.PLAY, movements=(BET, same(WIN, reference=BET.reference))),
        "two bets": Intent(CallKind.PLAY, movements=(BET, BET)),
        "two rollbacks": Intent(CallKind.ROLLBACK, movements=(BACK, same(BACK, reverses="bet-2"))),
        "a rollback of itself": Intent(CallKind.ROLLBACK, movements=(same(BACK, reverses=BACK.reference),)),
    }
    for name, intent in doubles.items():
        made = bench.write(intent)
        if made is not None and bench.read(made[1]) is not Refusal.MALFORMED:
            yield f"{name} under one reference: not malformed"


def find_let_through(bench: Bench, said: str, call: RawCall) -> Iterator[str]:
    """Yield how `verify` lets a call through that it must refuse as wrongly signed."""
    try:
        bench.plugin.verify(call)
    except DialectRefusal as refused:
        if refused.refusal is not Refusal.SIGNATURE_INVALID:
            yield f"{said}: refused as {refused.refusal.value}, not as signature_invalid"
        return
    yield f"{said}: verify lets it through"


def _signed_by(bench: Bench, call: RawCall, signature: str) -> RawCall:
    headers = {**call.headers, bench.subject.double.signature_header: signature}
    return msgspec.structs.replace(call, headers=headers)


def _find_amount_misread(bench: Bench, currency: str, amount: str, *, is_vast: bool = False) -> Iterator[str]:
    decimals = CURRENCIES[currency].decimals
    if not is_exact(amount, decimals):
        return
    for kind in (LegKind.BET, LegKind.WIN):
        intent = Intent(CallKind.PLAY, currency=currency, movements=(Movement(kind, "m-1", amount),))
        made = bench.write(intent)
        found = None if made is None else bench.read(made[1])
        said = f"{kind.name.lower()} of {amount} {currency}"
        if is_vast and found in {None, Refusal.MALFORMED}:
            continue  # more than the vendor's form of an amount can carry
        if not isinstance(found, WalletCall):
            yield f"{said}: {'the double cannot write it' if found is None else 'is refused as ' + found.value}"
            continue
        yield from (f"{said}: {difference}" for difference in find_differences(intent, found))


def _find_currency_spoken(bench: Bench, currency: str) -> Iterator[str]:
    made = bench.write(Intent(CallKind.PLAY, currency=currency, movements=(BET,)))
    if made is not None and bench.read(made[1]) is not Refusal.CURRENCY_MISMATCH:
        yield f"{currency} is said to be refused, but is not answered with currency_mismatch"


def _spoil(intent: Intent) -> Iterator[tuple[str, Intent]]:
    replace = msgspec.structs.replace
    for bad in ("", "x" * (MAX_REFERENCE_LENGTH + 1), "a\x00b", "a\nb", "\x7f", "\ud800"):
        if intent.movements:
            (movement,) = intent.movements
            yield "reference", replace(intent, movements=(replace(movement, reference=bad),))
            if movement.reverses:
                yield "reverses", replace(intent, movements=(replace(movement, reverses=bad),))
            yield "round", replace(intent, round=bad)
        yield "account", replace(intent, account=bad)
        if bad:  # a vendor may leave these two out
            yield "session", replace(intent, session=bad)
            yield "game", replace(intent, game=bad)


def _value_of(said: Intent | WalletCall, field: str) -> str:
    if field in {"reference", "reverses"}:
        return str(getattr((said.legs if isinstance(said, WalletCall) else said.movements)[0], field))
    return str(getattr(said, field))


def _lengthen(intent: Intent, length: int) -> Intent:
    return _map(intent, lambda text: text.ljust(length, "x"))


def _prefix(intent: Intent, prefix: str) -> Intent:
    return _map(intent, lambda text: prefix + text)


def _map(intent: Intent, change: Callable[[str], str]) -> Intent:
    replace = msgspec.structs.replace
    movements = tuple(
        replace(each, reference=change(each.reference), reverses=change(each.reverses) if each.reverses else "")
        for each in intent.movements
    )
    return replace(intent, round=change(intent.round), game=change(intent.game), movements=movements)


def _name(found: WalletCall | Refusal) -> str:
    return found.value if isinstance(found, Refusal) else f"a {found.kind.name.lower()} call"
