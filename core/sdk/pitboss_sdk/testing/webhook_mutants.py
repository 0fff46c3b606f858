"""Broken copies of a plugin's receiver of webhooks, and of what it may be signed with, at least one for each rule."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec

from pitboss_sdk.events import CatalogueChanged
from pitboss_sdk.games import DialectRefusal, Refusal
from pitboss_sdk.testing.double import SIGNED_AT_US, Subject
from pitboss_sdk.webhooks import Accepted, Forged, NotForUs, Untranslatable

replace = msgspec.structs.replace
Planted = Iterator[tuple[str, str, Subject]]
Alter = Callable[..., Subject]


def plant_schemes(subject: Subject, subclass: Alter, capable: Alter) -> Planted:
    """Yield copies that believe more signatures of wallet calls than the vendor's, or the wrong age of one."""
    base, double = subject.plugin, subject.double
    secret = next(iter(subject.secrets.values())).strip().encode()

    def mutant(accepts: Callable[[Any], bool]) -> Subject:
        def verify(self: Any, call: Any) -> None:
            if not accepts(call):
                base.verify(self, call)

        return subclass(subject, verify=verify)

    def claimed(call: Any) -> str:
        return call.headers.get(double.signature_header, "")

    def expected(call: Any) -> str:
        return double.sign(call.operation, call.body)[double.signature_header]

    def old(call: Any) -> bool:
        older = hmac.new(secret, call.body, hashlib.sha1).hexdigest()
        return hmac.compare_digest(claimed(call).encode("utf-8", "replace"), older.encode())

    def elsewhere(call: Any) -> bool:
        return call.headers.get("x-signature") == expected(call)

    def capitals(call: Any) -> bool:
        return claimed(call).isascii() and claimed(call).lower() == expected(call).lower()

    def timed(self: Any, call: Any) -> None:
        if call.received_at_us > SIGNED_AT_US + 3_600_000_000:
            raise DialectRefusal(Refusal.SIGNATURE_INVALID)
        base.verify(self, call)

    yield "signature.scheme", "an older hash of the secret is fine too", mutant(old)
    yield "signature.scheme", "another header is fine too", mutant(elsewhere)
    if not getattr(double, "signature_in_any_case", False):
        yield "signature.altered", "capitals are fine too", mutant(capitals)
    if subject.capability.call_skew_seconds:
        yield "signature.stale", "a time is judged, but not declared", capable(subject, call_skew_seconds=0)

        def frozen(self: Any, call: Any) -> None:
            base.verify(self, replace(call, received_at_us=SIGNED_AT_US))

        yield "signature.stale", "the age of a call is not judged", subclass(subject, verify=frozen)
    else:
        yield "signature.stale", "a time is declared, but not judged", capable(subject, call_skew_seconds=300)
        yield "signature.stale", "a time is judged, but not declared", subclass(subject, verify=timed)


def plant_webhooks(subject: Subject, subclass: Alter, manifest: Alter) -> Planted:
    """Yield copies that break a rule of webhooks; nothing where the plugin takes none."""
    yield (
        "static.manifest",
        "webhooks become nothing",
        manifest(subject, webhooks=replace(subject.manifest.webhooks, mode="signed"), events=()),
    )
    yield "static.manifest", "an event of no kind", manifest(subject, events=("games.invented",))
    if subject.manifest.webhooks.mode != "signed":
        yield (
            "static.contract",
            "webhooks without a receiver",
            manifest(
                subject,
                webhooks=replace(subject.manifest.webhooks, mode="signed"),
                events=("games.catalogue_changed",),
            ),
        )
        return
    none = replace(subject.manifest.webhooks, mode="none", skew_seconds=0)
    yield "static.contract", "a receiver without webhooks", manifest(subject, webhooks=none, events=())
    yield (
        "static.contract",
        "a header that may not be kept",
        subclass(subject, webhook_headers=subject.plugin.webhook_headers | {"cookie"}),
    )
    yield from _believing(subject, subclass)
    yield from _verdicts(subject, subclass, manifest)
    yield from _translations(subject, subclass, manifest)


def _change_verdicts(subject: Subject, subclass: Alter, change: Callable[[Any, Any], Any]) -> Subject:
    base = subject.plugin

    def verify_webhook(self: Any, raw: Any) -> Any:
        return change(raw, base.verify_webhook(self, raw))

    return subclass(subject, verify_webhook=verify_webhook)


def _believing(subject: Subject, subclass: Alter) -> Planted:
    """Copies that believe the wrong sender."""
    base = subject.plugin

    def instead(kind: type[Any], other: Callable[[Any], Any]) -> Subject:
        return _change_verdicts(
            subject, subclass, lambda raw, verdict: other(raw) if isinstance(verdict, kind) else verdict
        )

    def strip(self: Any, raw: Any) -> Any:
        return base.verify_webhook(self, replace(raw, body=raw.body.strip()))

    def merchant_first(self: Any, raw: Any) -> Any:
        return NotForUs() if b"not-" in raw.body else base.verify_webhook(self, raw)

    anyone = Accepted("event-1", SIGNED_AT_US)
    yield "webhooks.genuine", "nothing is the vendor's", instead(Accepted, lambda _: Forged())
    yield "webhooks.forged", "everything is the vendor's", instead(Forged, lambda _: anyone)
    yield "webhooks.forged", "space around the body does not count", subclass(subject, verify_webhook=strip)
    yield "webhooks.merchant", "another merchant's is ours", instead(NotForUs, lambda _: anyone)
    yield "webhooks.merchant", "another merchant's is forged", instead(NotForUs, lambda _: Forged())
    yield (
        "webhooks.merchant",
        "whose it is counts before who signed it",
        subclass(subject, verify_webhook=merchant_first),
    )


def _verdicts(subject: Subject, subclass: Alter, manifest: Alter) -> Planted:
    """Copies that tell something wrong of a call that they are right to believe."""
    numbers = count(1)

    def mutant(change: Callable[[Any, Any], Any]) -> Subject:
        return _change_verdicts(subject, subclass, change)

    def accepted(**changes: Callable[[Any, Any], Any]) -> Subject:
        def change(raw: Any, verdict: Any) -> Any:
            if not isinstance(verdict, Accepted):
                return verdict
            return replace(verdict, **{name: make(raw, verdict) for name, make in changes.items()})

        return mutant(change)

    def stale(raw: Any, verdict: Any) -> Any:
        return Forged("old") if abs(raw.received_at_us - SIGNED_AT_US) > 3_000_000_000 else verdict

    def crash(raw: Any, verdict: Any) -> Any:
        for value in raw.headers.values():
            value.encode("ascii")
        return verdict

    def small(raw: Any, verdict: Any) -> Any:
        if len(raw.body) > 100_000:
            raise MemoryError
        return verdict

    def look(_raw: Any, verdict: Any, clock: Callable[[], float] = time.time) -> Any:
        clock()
        return verdict

    yield (
        "webhooks.replayed",
        "each sending has its own id",
        accepted(
            event_id=lambda _, verdict: f"{verdict.event_id}-{verdict.sent_at_us or next(numbers)}-{next(numbers)}"
        ),
    )
    yield "webhooks.replayed", "all events have one id", accepted(event_id=lambda _, __: "event")
    yield "webhooks.stale", "the receiver judges the time itself", mutant(stale)
    yield (
        "webhooks.stale",
        "the time of receipt is told as the signed one",
        accepted(sent_at_us=lambda raw, _: raw.received_at_us),
    )
    skew = 0 if subject.manifest.webhooks.skew_seconds else 300
    yield (
        "webhooks.stale",
        "the manifest says the opposite",
        manifest(subject, webhooks=replace(subject.manifest.webhooks, skew_seconds=skew)),
    )
    if getattr(getattr(subject.double, "webhooks", None), "counts", False):
        yield (
            "webhooks.order",
            "the vendor's count is left out",
            accepted(object_id=lambda _, __: "", sequence=lambda _, __: 0),
        )
        yield (
            "webhooks.order",
            "all objects have one name",
            accepted(object_id=lambda _, verdict: verdict.object_id and "object"),
        )
        yield "webhooks.order", "a count of its own", accepted(sequence=lambda _, __: next(numbers))
    yield "webhooks.hostile", "text that is not ASCII raises", mutant(crash)
    yield "webhooks.huge", "a large body raises", mutant(small)
    yield "webhooks.purity", "the receiver looks at the clock", mutant(look)


def _translations(subject: Subject, subclass: Alter, manifest: Alter) -> Planted:
    base = subject.plugin

    def mutant(change: Callable[[Any, Any, Any], Any]) -> Subject:
        def translate_webhook(self: Any, raw: Any) -> Any:
            return change(self, raw, lambda: base.translate_webhook(self, raw))

        return subclass(subject, translate_webhook=translate_webhook)

    def guess(_self: Any, _raw: Any, translate: Any) -> Any:
        try:
            return translate()
        except Untranslatable:
            return (CatalogueChanged(),)

    def crash(_self: Any, _raw: Any, translate: Any) -> Any:
        try:
            return translate()
        except Untranslatable:
            raise ValueError("not JSON") from None

    def whole(_self: Any, raw: Any, translate: Any) -> Any:
        return translate() if raw.headers["content-type"] else ()

    def chatter(_self: Any, _raw: Any, translate: Any) -> Any:
        return (*translate(), "and a text")

    yield "webhooks.genuine", "an event becomes nothing", mutant(lambda _, __, ___: ())
    yield "webhooks.truncated", "what cannot be read is guessed", mutant(guess)
    yield "webhooks.hostile", "what cannot be read raises", mutant(crash)
    yield "webhooks.events", "what is no event comes out", mutant(chatter)
    first = subject.manifest.events[0]
    others = tuple(name for name in subject.manifest.events if name != first)
    yield "webhooks.events", "an event is not declared", manifest(subject, events=others)
    yield "webhooks.headers", "a header is needed that is not kept", mutant(whole)
