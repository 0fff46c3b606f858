"""Broken copies of a plugin, at least one for each rule: the kit must find every one of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from random import random
from types import ModuleType
from typing import Any
from uuid import uuid1

import msgspec

from pitboss_sdk.games import (
    STICKY,
    CallKind,
    DialectRefusal,
    DialectResponse,
    Leg,
    LegKind,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.outcome import Done, Refused, Unknown, Unsent
from pitboss_sdk.testing.answer_rules import TRAITS
from pitboss_sdk.testing.bench import PLAIN, SPECIAL, Bench, accept
from pitboss_sdk.testing.double import Subject, plugin_folder
from pitboss_sdk.testing.listing_rules import plant_lists
from pitboss_sdk.testing.webhook_mutants import plant_schemes, plant_webhooks

replace = msgspec.structs.replace
Planted = Iterator[tuple[str, str, Subject]]


class Mutant(msgspec.Struct, frozen=True):
    """A plugin with one fault. `rule` is the one that must find it, `name` says what is broken."""

    rule: str
    name: str
    subject: Subject


def list_mutants(subject: Subject) -> list[Mutant]:
    """Return broken copies of the plugin for every rule of the kit."""
    planted = [_static, _signatures, _readings, _lenient, _effects, _capabilities, _answers, _refusals, _drivers]
    found = [Mutant(*each) for plant in planted for each in plant(subject)]
    found += [Mutant(*each) for plant in (plant_schemes, plant_lists) for each in plant(subject, _subclass, _capable)]
    return found + [Mutant(*each) for each in plant_webhooks(subject, _subclass, _manifest)]


def edit_source(subject: Subject, file: str, old: str, new: str) -> Subject:
    """Return the subject with a copy of its class in whose module `file` the text `old` is `new`.

    Raises `ValueError` unless `old` stands there exactly once. `file` is the one that defines the class.
    """
    text = subject.sources[file]
    if text.count(old) != 1:
        raise ValueError(f"{file}: the text to edit stands there {text.count(old)} times")
    edited = text.replace(old, new)
    original = subject.plugin.__module__
    module = ModuleType(f"{original}_edited_{len(sys.modules)}")
    module.__file__ = str(plugin_folder(subject.plugin) / file)
    sys.modules[module.__name__] = module
    exec(compile(edited, module.__file__, "exec"), module.__dict__)  # noqa: S102 the author's own text, in the author's own tests
    plugin = getattr(module, subject.plugin.__name__)
    return replace(subject, plugin=plugin, sources={**subject.sources, file: edited})


def _subclass(subject: Subject, **members: Any) -> Subject:
    base = subject.plugin
    broken = type(base.__name__, (base,), {"__module__": base.__module__, **members})
    return replace(subject, plugin=broken)


def _capable(subject: Subject, **changes: Any) -> Subject:
    manifest = replace(subject.manifest, capability={**subject.manifest.capability, **changes})
    return replace(subject, manifest=manifest)


def _static(subject: Subject) -> Planted:
    base: Any = subject.plugin
    yield "static.manifest", "another version of the manifest", _manifest(subject, manifest_version=99)
    yield "static.contract", "a method is missing", _subclass(subject, render=None)
    yield "static.contract", "an operation more than declared", _subclass(subject, operations=base.operations | {"x"})
    planted = ("import socket\n", "from urllib import request\n", "def f():\n    return open('x')\n", "import time\n")
    for text in (*planted, "def verify(claimed, key):\n    return claimed == key.hex()\n"):
        yield "static.code", text.split("\n")[0], replace(subject, sources={**subject.sources, "more.py": text})
    config = msgspec.defstruct(
        "Config", [("api_token", str, "")], bases=(base.Config,), kw_only=True, forbid_unknown_fields=True
    )
    yield "static.secrets", "a secret in the clear", _subclass(subject, Config=config)

    def init(self: Any, config: Any, secrets: Mapping[str, str]) -> None:
        filled = {**dict(subject.secrets), **{name: value for name, value in secrets.items() if value}}
        base.__init__(self, config, filled)

    def crash(self: Any, config: Any, secrets: Mapping[str, str]) -> None:
        if any(not value for value in secrets.values()) or set(secrets) != set(subject.secrets):
            raise KeyError("secret")
        base.__init__(self, config, secrets)

    yield "configuration.secrets", "a default for a missing secret", _subclass(subject, __init__=init)
    yield "configuration.secrets", "another error for a missing secret", _subclass(subject, __init__=crash)
    version = subject.manifest.config_version
    yield "configuration.migration", "a version that nothing leads to", _manifest(subject, config_version=version + 1)


def _signatures(subject: Subject) -> Planted:
    base, double = subject.plugin, subject.double

    def mutant(accepts: Callable[[str, str, Any], bool]) -> Subject:
        def verify(self: Any, call: Any) -> None:
            expected = double.sign(call.operation, call.body)[double.signature_header]
            if not accepts(call.headers.get(double.signature_header, ""), expected, call):
                base.verify(self, call)

        return _subclass(subject, verify=verify)

    def refuse(_self: Any, _call: Any) -> None:
        raise DialectRefusal(Refusal.SIGNATURE_INVALID)

    def strip(self: Any, call: Any) -> None:
        base.verify(self, replace(call, body=call.body.strip()))

    def crash(self: Any, call: Any) -> None:
        call.headers.get(double.signature_header, "").encode("ascii")
        base.verify(self, call)

    def stranger(claimed: str, _expected: str, call: Any) -> bool:
        return claimed == double.sign(call.operation, call.body, stranger=True)[double.signature_header]

    yield "signature.genuine", "nothing is accepted", _subclass(subject, verify=refuse)
    yield "signature.absent", "no signature is fine", mutant(lambda claimed, _, __: not claimed)
    yield (
        "signature.truncated",
        "a beginning is enough",
        mutant(lambda claimed, expected, _: len(claimed) > 7 and expected.startswith(claimed)),
    )
    yield (
        "signature.altered",
        "the length is enough",
        mutant(lambda claimed, expected, _: len(claimed) == len(expected)),
    )
    yield (
        "signature.altered",
        "more than the signature is fine",
        mutant(lambda claimed, expected, _: expected in claimed),
    )
    yield "signature.altered", "text that is not ASCII raises", _subclass(subject, verify=crash)
    yield "signature.stranger", "another key is fine", mutant(stranger)
    yield "signature.body", "space around the body does not count", _subclass(subject, verify=strip)


def _readings(subject: Subject) -> Planted:
    base = subject.plugin
    swapped = {LegKind.BET: LegKind.WIN, LegKind.WIN: LegKind.BET, LegKind.ROLLBACK: LegKind.ROLLBACK}

    def mutant(change: Callable[[WalletCall], WalletCall]) -> Subject:
        def parse(self: Any, call: Any) -> WalletCall:
            return change(base.parse(self, call))

        return _subclass(subject, parse=parse)

    def legs(change: Callable[[WalletCall, Leg], Leg]) -> Subject:
        return mutant(lambda call: replace(call, legs=tuple(change(call, leg) for leg in call.legs)))

    def silence(self: Any, call: Any) -> WalletCall:
        if call.operation == min(base.operations):
            raise DialectRefusal(Refusal.OPERATION_UNKNOWN)
        return base.parse(self, call)

    def guess(self: Any, call: Any) -> WalletCall:
        return base.parse(
            self, call if call.operation in base.operations else replace(call, operation=min(base.operations))
        )

    def finest(call: WalletCall, leg: Leg) -> Leg:
        return replace(leg, amount_minor=leg.amount_minor // 10 * 10) if call.currency == "KWD" else leg

    def cents(call: WalletCall, leg: Leg) -> Leg:
        return replace(leg, amount_minor=leg.amount_minor * 100) if call.currency == "JPY" else leg

    def blurred(_call: WalletCall, leg: Leg) -> Leg:
        return replace(leg, amount_minor=int(float(leg.amount_minor)))

    def short(self: Any, call: Any) -> WalletCall:
        read = base.parse(self, call)
        if any(len(leg.reference) > 64 for leg in read.legs):
            raise DialectRefusal(Refusal.MALFORMED)
        return read

    def leave_out(field: str) -> Callable[[WalletCall], WalletCall]:
        return lambda call: replace(call, **{field: ""})

    count: list[int] = []

    def renumber(_call: WalletCall, leg: Leg) -> Leg:
        count.append(1)
        return replace(leg, reference=f"{leg.reference}-{len(count)}")

    yield "operations.declared", "one operation is not spoken", _subclass(subject, parse=silence)
    yield "operations.undeclared", "an unknown operation is taken for another", _subclass(subject, parse=guess)
    yield "calls.meaning", "bets and wins are swapped", legs(lambda _, leg: replace(leg, kind=swapped[leg.kind]))
    yield "calls.meaning", "the account is another", mutant(lambda call: replace(call, account="someone"))
    for field in ("account", "currency", "game"):
        yield "calls.meaning", f"the {field} is left out", mutant(leave_out(field))
    yield (
        "calls.meaning",
        "a rollback reverses another",
        legs(lambda _, leg: replace(leg, reverses="other") if leg.reverses else leg),
    )
    yield "amounts.exact", "the third decimal is cut", legs(finest)
    yield "amounts.exact", "every currency has cents", legs(cents)
    yield "amounts.exact", "amounts go through a float", legs(blurred)
    yield (
        "references.kept",
        "references in lower case",
        legs(lambda _, leg: replace(leg, reference=leg.reference.lower())),
    )
    yield "references.kept", "references of 64 characters at most", _subclass(subject, parse=short)
    yield "duplicates.repeated", "each reading has its own references", legs(renumber)
    yield "purity.repeatable", "each reading has its own references", legs(renumber)


def _lenient(subject: Subject) -> Planted:
    """Copies that take what they must refuse as malformed."""
    base = subject.plugin

    def anything(self: Any, call: Any) -> WalletCall:
        try:
            return base.parse(self, call)
        except DialectRefusal as refused:
            if refused.refusal is not Refusal.MALFORMED:
                raise
            kind = LegKind.ROLLBACK if call.operation == "rollback" else LegKind.BET
            leg = Leg(
                kind, "cut-to-fit", 0 if kind is LegKind.ROLLBACK else 1, "other" if kind is LegKind.ROLLBACK else ""
            )
            return WalletCall(CallKind.PLAY, "someone", "EUR", round="round-1", legs=(leg,))

    def crash(self: Any, call: Any) -> WalletCall:
        try:
            return base.parse(self, call)
        except DialectRefusal as refused:
            raise ValueError("not JSON") from refused

    def vast(self: Any, call: Any) -> WalletCall:
        try:
            return base.parse(self, call)
        except DialectRefusal:
            return WalletCall(CallKind.PLAY, "x" * 500, "EUR", legs=(Leg(LegKind.BET, "a", 2**70),))

    def long(self: Any, call: Any) -> None:
        if len(call.body) <= base.max_body_bytes:
            base.verify(self, call)

    def cut(self: Any, call: Any) -> WalletCall:
        return base.parse(self, replace(call, body=call.body.strip()))

    for rule in ("calls.malformed", "amounts.beyond", "references.beyond", "duplicates.within"):
        yield rule, "what cannot be read is made to fit", _subclass(subject, parse=anything)
    yield "calls.hostile", "another error leaves", _subclass(subject, parse=crash)
    yield "calls.hostile", "values beyond what can be stored", _subclass(subject, parse=vast)
    yield "calls.oversize", "no limit", _subclass(subject, verify=long, parse=cut)
    yield "calls.oversize", "a limit below a genuine call", _subclass(subject, max_body_bytes=64)


def _effects(subject: Subject) -> Planted:
    base = subject.plugin
    kept: list[str] = []

    def mutant(effect: Callable[[], object]) -> Subject:
        def parse(self: Any, call: Any) -> WalletCall:
            effect()
            return base.parse(self, call)

        return _subclass(subject, parse=parse)

    def remember(self: Any, call: Any) -> None:
        kept.append(call.operation)
        base.verify(self, call)

    def count(self: Any, call: Any) -> None:
        self.calls_seen = getattr(self, "calls_seen", 0) + 1
        base.verify(self, call)

    yield "purity.state", "the class remembers calls", _subclass(subject, verify=remember, kept=kept)
    yield "purity.state", "the instance counts calls", _subclass(subject, verify=count)
    yield "purity.effects", "it looks at the clock", mutant(time.time)
    yield "purity.effects", "it looks at the calendar", mutant(time.gmtime)
    yield "purity.effects", "it makes an id of the clock", mutant(uuid1)
    yield "purity.effects", "it takes a chance", mutant(random)
    yield "purity.effects", "it reads a file", mutant(lambda: plugin_folder(base).joinpath("manifest.toml").read_text())


def _capabilities(subject: Subject) -> Planted:
    base = subject.plugin
    for name, (_, shows) in TRAITS.items():
        declared = bool(getattr(subject.capability, name))
        said = "it is shown, but not declared" if declared else "it is declared, but not shown"
        yield f"capability.{name}", said, _capable(subject, **{name: not declared})

        def parse(self: Any, call: Any, shows: Callable[[WalletCall], bool] = shows) -> WalletCall:
            read = base.parse(self, call)
            if shows(read):
                raise DialectRefusal(Refusal.MALFORMED)
            return read

        if declared:
            yield f"capability.{name}", "it is declared, but refused", _subclass(subject, parse=parse)
    if subject.capability.round_finish and subject.double.write(SPECIAL["finish"]) is not None:

        def deaf(self: Any, call: Any) -> WalletCall:
            read = base.parse(self, call)
            if read.kind is CallKind.FINISH:
                raise DialectRefusal(Refusal.MALFORMED)
            return read

        yield "capability.round_finish", "an end without a win is refused", _subclass(subject, parse=deaf)
    other = "refuse" if subject.capability.rollback_unknown == "tombstone" else "tombstone"
    yield "capability.rollback_unknown", f"{other} is declared", _capable(subject, rollback_unknown=other)
    listed = subject.capability.game_list
    yield "capability.game_list", "the manifest says the opposite", _capable(subject, game_list=not listed)
    yield "capability.launch_demo", "it is declared", _capable(subject, launch_demo=True)


def _answers(subject: Subject) -> Planted:
    base = subject.plugin

    def mutant(change: Callable[[Any, Any, Any], DialectResponse]) -> Subject:
        return _subclass(subject, render=change)

    def fail(self: Any, call: Any, answer: Any) -> DialectResponse:
        return base.render_refusal(Refusal.INTERNAL) if answer.refusal is None else base.render(self, call, answer)

    def richer(self: Any, call: Any, answer: Any) -> DialectResponse:
        one_more = answer.balance_minor if answer.balance_minor is None else answer.balance_minor + 10**5
        return base.render(self, call, replace(answer, balance_minor=one_more))

    def blurred(self: Any, call: Any, answer: Any) -> DialectResponse:
        balance = answer.balance_minor
        return base.render(self, call, replace(answer, balance_minor=None if balance is None else int(float(balance))))

    told: dict[tuple[str, CallKind], DialectResponse] = {}

    def sticky(self: Any, call: Any, answer: Any) -> DialectResponse:
        return told.setdefault((call.round, call.kind), base.render(self, call, answer))

    def longer(self: Any, call: Any, answer: Any) -> DialectResponse:
        self.longer_by = getattr(self, "longer_by", 0) + 1
        rendered = base.render(self, call, answer)
        return replace(rendered, body=rendered.body + b" " * self.longer_by)

    yield "answers.accepted", "a call that is carried out is told as failed", mutant(fail)
    yield "answers.accepted", "the first answer of a round is told to all its calls", mutant(sticky)
    yield "answers.balance", "the balance told is another", mutant(richer)
    yield "answers.balance", "the balance goes through a float", mutant(blurred)
    yield "answers.replay", "each answer is longer than the one before", mutant(longer)


def _refusals(subject: Subject) -> Planted:
    base = subject.plugin

    def mutant(change: Callable[[Any], Any], *, applies: Callable[[Any], bool] = lambda _: True) -> Subject:
        def render(self: Any, call: Any, answer: Any) -> DialectResponse:
            return base.render(self, call, change(answer) if answer.refusal and applies(answer) else answer)

        return _subclass(subject, render=render)

    def agree(self: Any, call: Any, answer: Any) -> DialectResponse:
        return base.render(self, call, accept(call) if answer.refusal else answer)

    def babble(_cls: Any, _refusal: Any, _detail: str = "") -> DialectResponse:
        return DialectResponse(418, b"?")

    def chatter(_cls: Any, refusal: Any, detail: str = "") -> DialectResponse:
        rendered = base.render_refusal(refusal, detail)
        return replace(rendered, body=rendered.body + detail.encode())

    def is_block(answer: Any) -> bool:
        return answer.refusal is blocked

    blocked = Refusal.PLAYER_BLOCKED
    yield "refusals.understood", "a no is told as done", _subclass(subject, render=agree)
    yield "refusals.understood", "a shape of its own", _subclass(subject, render_refusal=classmethod(babble))
    yield (
        "refusals.distinct",
        "a block is told as lack of money",
        mutant(lambda answer: replace(answer, refusal=Refusal.INSUFFICIENT_FUNDS), applies=is_block),
    )
    yield (
        "refusals.distinct",
        "lack of money is told as a block",
        mutant(
            lambda answer: replace(answer, refusal=blocked),
            applies=lambda answer: answer.refusal is Refusal.INSUFFICIENT_FUNDS,
        ),
    )
    yield (
        "refusals.retried",
        "what may succeed later is final",
        mutant(
            lambda answer: replace(answer, refusal=blocked),
            applies=lambda answer: answer.refusal is Refusal.UNAVAILABLE,
        ),
    )
    yield (
        "refusals.retried",
        "what is final is sent again",
        mutant(
            lambda answer: replace(answer, refusal=Refusal.UNAVAILABLE), applies=lambda answer: answer.refusal in STICKY
        ),
    )
    yield "refusals.silent", "the detail is told", _subclass(subject, render_refusal=classmethod(chatter))
    # Where the vendor's refusals have no place for a balance, no fault of one can be seen.
    if _tells_balances(subject):
        yield (
            "refusals.balance",
            "a balance that nobody knows is told as zero",
            mutant(lambda answer: replace(answer, balance_minor=answer.balance_minor or 0)),
        )


def _tells_balances(subject: Subject) -> bool:
    """Say whether the vendor's refusals carry a balance; a plugin too broken to tell is taken to."""
    try:
        bench = Bench(subject)
        made = bench.write(PLAIN["bet"])
        call = None if made is None else bench.read(made[1])
        if made is None or not isinstance(call, WalletCall):
            return True
        answers = (bench.plugin.render(call, WalletAnswer(refusal, 500)) for refusal in Refusal)
        return any(subject.double.read(made[0], answer).balance is not None for answer in answers)
    except Exception:  # noqa: BLE001 the rules tell what is wrong with it
        return True


def _drivers(subject: Subject) -> Planted:
    base = subject.plugin

    def mutant(change: Callable[[Any], Any]) -> Subject:
        async def launch(self: Any, http: Any, request: Any) -> Any:
            return change(await base.launch(self, http, request))

        return _subclass(subject, launch=launch)

    def sending(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Subject:
        async def launch(self: Any, http: Any, request: Any) -> Any:
            return await base.launch(self, _Detour(http, change), request)

        return _subclass(subject, launch=launch)

    def instead(kind: type[Any], other: Callable[[], Any]) -> Subject:
        return mutant(lambda outcome: other() if isinstance(outcome, kind) else outcome)

    yield "driver.launch", "a launch never succeeds", instead(Done, lambda: Unknown("no"))
    yield "driver.launch", "the deadline is not kept", sending(lambda sent: {**sent, "timeout_ms": 60_000})
    yield "driver.refused", "a refusal is not understood", instead(Refused, lambda: Unknown("no"))
    yield "driver.departure", "what may have left is called unsent", instead(Unknown, lambda: Unsent("no"))
    yield "driver.departure", "what never left is called unknown", instead(Unsent, lambda: Unknown("no"))
    yield "driver.unlisted", "what is not understood is a no", instead(Unknown, lambda: Refused("400"))
    yield "driver.egress", "a host too many", _manifest(subject, egress=(*subject.manifest.egress, "unused.example"))
    yield "driver.egress", "another host is called", sending(lambda sent: {**sent, "url": "https://elsewhere.example/"})
    kept = tuple(name for name in subject.manifest.pii if name != "player_id")
    yield "driver.pii", "the player's id leaves undeclared", _manifest(subject, pii=kept)
    yield "driver.pii", "more is declared than leaves", _manifest(subject, pii=(*subject.manifest.pii, "birth_date"))
    yield (
        "driver.outside",
        "each call is another",
        sending(
            lambda sent: {**sent, "headers": {**sent["headers"], "x-nonce": str(random())}}  # noqa: S311 no secret
        ),
    )
    told = next(iter(subject.secrets.values()))
    yield "driver.secrets", "an outcome tells a secret", instead(Unknown, lambda: Unknown(told))


class _Detour:
    """An injected client that changes what passes through it."""

    def __init__(self, http: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._http = http
        self._change = change

    async def request(self, method: str, url: str, **rest: Any) -> Any:
        return await self._http.request(**self._change({"method": method, "url": url, **rest}))


def _manifest(subject: Subject, **changes: Any) -> Subject:
    return replace(subject, manifest=replace(subject.manifest, **changes))
