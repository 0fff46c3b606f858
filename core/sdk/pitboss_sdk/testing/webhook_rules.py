"""Rules about webhooks: forged, replayed, out of order, truncated, stale, huge, and for another merchant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final, cast

import msgspec

from pitboss_sdk.events import EVENTS, name_event
from pitboss_sdk.testing.bench import Bench
from pitboss_sdk.testing.double import SIGNED_AT_US, Notice, WebhookDouble
from pitboss_sdk.testing.guard import watch
from pitboss_sdk.webhooks import MAX_EVENT_ID_LENGTH, Accepted, Forged, NotForUs, RawWebhook, Untranslatable

HUGE_BYTES: Final = 256 * 1024
"""The host reads no larger body."""
BODIES: Final = (b"", b"{", b"[]", b"null", b"7", b'""', b"\xff\xfe", b"<a/>", b"a=b", b'{"type":7,"data":[]}')
replace = msgspec.structs.replace


def find_genuine_refused(bench: Bench) -> Iterator[str]:
    """A webhook that the vendor signed is accepted and becomes the event that it tells."""
    double = _find_double(bench)
    if double is None:
        if _takes(bench):
            yield "webhooks are signed, but the double has no side of them (webhooks)"
        return
    if not _list_notices(bench):
        yield "the double writes none of the events that the manifest lists"
    for notice in _list_notices(bench):
        raw = _send(bench, notice)
        verdict = _verify(bench, raw)
        if not isinstance(verdict, Accepted):
            yield f"{notice.event}: the vendor's own is answered with {verdict}"
            continue
        if not 0 < len(verdict.event_id) <= MAX_EVENT_ID_LENGTH or not verdict.event_id.isprintable():
            yield f"{notice.event}: the id {verdict.event_id[:20]!r} cannot be stored"
        names = [name_event(event) for event in _translate(bench, raw)]
        if names != [notice.event]:
            yield f"{notice.event}: becomes {names}"


def find_forged_accepted(bench: Bench) -> Iterator[str]:
    """A webhook without the vendor's signature, or changed after it was signed, is forged."""
    double = _find_double(bench)
    for notice in _list_notices(bench) if double is not None else ():
        raw = _send(bench, notice)
        for said, forged in _list_forgeries(cast("WebhookDouble", double), notice, raw):
            verdict = _verify(bench, forged)
            if not isinstance(verdict, Forged):
                yield f"{notice.event}, {said}: is answered with {type(verdict).__name__}"


def find_others_taken(bench: Bench) -> Iterator[str]:
    """What the vendor sends to another of its customers is not for us; what nobody signed is forged all the same."""
    for notice in _list_notices(bench):
        raw = _send(bench, replace(notice, is_ours=False))
        verdict = _verify(bench, raw)
        if not isinstance(verdict, NotForUs):
            yield f"{notice.event} for another merchant: is answered with {type(verdict).__name__}"
        verdict = _verify(bench, _send(bench, replace(notice, is_ours=False), stranger=True))
        if not isinstance(verdict, Forged):
            yield f"{notice.event} for another merchant, forged: is answered with {type(verdict).__name__}"


def find_repetitions_unseen(bench: Bench) -> Iterator[str]:
    """A repetition has the id of the first sending, whenever it is sent; another event has another id."""
    for notice in _list_notices(bench):
        first = _accept(bench, notice)
        again = _accept(bench, replace(notice, sent_at_us=notice.sent_at_us + 60_000_000))
        other = _accept(bench, replace(notice, event_id="event-2"))
        if first is not None and again is not None and first.event_id != again.event_id:
            yield f"{notice.event}: a repetition has another id"
        if first is not None and other is not None and first.event_id == other.event_id:
            yield f"{notice.event}: another event has the same id"


def find_times_untold(bench: Bench) -> Iterator[str]:
    """The time that was signed is told as it is, whenever the webhook is received: the host judges its age."""
    declared = bench.subject.manifest.webhooks.skew_seconds
    for notice in _list_notices(bench):
        for ago_us in (0, 3_600_000_000, 10 * 86_400_000_000, -3_600_000_000):
            raw = replace(_send(bench, notice), received_at_us=SIGNED_AT_US + ago_us)
            verdict = _verify(bench, raw)
            if not isinstance(verdict, Accepted):
                yield f"{notice.event}, received {ago_us // 10**6} s after it was signed: {verdict}"
            elif declared and verdict.sent_at_us != notice.sent_at_us // 10**6 * 10**6:
                yield f"{notice.event}: the signed time is told as {verdict.sent_at_us}"
            elif not declared and verdict.sent_at_us is not None:
                yield f"{notice.event}: a time is told, but the manifest declares no webhooks.skew_seconds"


def find_order_lost(bench: Bench) -> Iterator[str]:
    """Where the vendor counts, what is about one object has its name and the vendor's number."""
    double = _find_double(bench)
    for notice in _list_notices(bench) if double is not None and double.counts else ():
        if "game" not in notice.event.rpartition(".")[2]:
            continue
        told = {count: _accept(bench, replace(notice, sequence=count, event_id=f"e-{count}")) for count in (1, 2, 900)}
        for count, accepted in told.items():
            if accepted is not None and (not accepted.object_id or accepted.sequence != count):
                yield f"{notice.event} number {count}: object {accepted.object_id!r}, sequence {accepted.sequence}"
        other = _accept(bench, replace(notice, game="another-game"))
        first = told[1]
        if first is not None and other is not None and first.object_id == other.object_id:
            yield f"{notice.event}: two games have one name"
        if first is not None and any(each is not None and each.object_id != first.object_id for each in told.values()):
            yield f"{notice.event}: one game has two names"


def find_truncated_read(bench: Bench) -> Iterator[str]:
    """A webhook that lost its end is forged; one that was signed without it means nothing, and says so."""
    double = _find_double(bench)
    for notice in _list_notices(bench) if double is not None else ():
        raw = _send(bench, notice)
        for length in range(0, len(raw.body), max(1, len(raw.body) // 8)):
            part = raw.body[:length]
            verdict = _verify(bench, replace(raw, body=part))
            if not isinstance(verdict, Forged):
                yield f"{notice.event} of {length} bytes: is answered with {type(verdict).__name__}"
            signed = replace(raw, body=part, headers=dict(cast("WebhookDouble", double).sign(notice, part)))
            yield from _find_unlawful(bench, f"{notice.event}, signed with {length} bytes", signed)
            if isinstance(_verify(bench, signed), Accepted) and _becomes_something(bench, signed):
                yield f"{notice.event}, signed with {length} bytes: becomes an event"


def find_hostile_raising(bench: Bench) -> Iterator[str]:
    """Whatever the bytes and headers, there is a verdict, and a translation or `Untranslatable`; nothing else is raised."""
    double = _find_double(bench)
    chance = Random(21)  # noqa: S311 the same bytes each time
    for notice in _list_notices(bench) if double is not None else ():
        raw = _send(bench, notice)
        yield from _find_unlawful(bench, f"{notice.event}, without headers", replace(raw, headers={}))
        for name in raw.headers:
            for value in ("", "é", "\x00", "0", "-1", "9" * 400, "v1," * 200, "None"):
                bad = replace(raw, headers={**raw.headers, name: value})
                yield from _find_unlawful(bench, f"{notice.event}, {name}: {value[:8]!r}", bad)
        bodies = [*BODIES, *(_damage(chance, raw.body) for _ in range(150))]
        for body in bodies:
            signed = replace(raw, body=body, headers=dict(cast("WebhookDouble", double).sign(notice, body)))
            yield from _find_unlawful(bench, f"{notice.event}, signed with body {body[:20]!r}", signed)


def find_huge_raising(bench: Bench) -> Iterator[str]:
    """The largest body that the host reads gets a verdict like any other."""
    double = _find_double(bench)
    for notice in _list_notices(bench)[:1] if double is not None else ():
        raw = _send(bench, notice)
        for body in (raw.body.ljust(HUGE_BYTES), b"[" * HUGE_BYTES, b'{"a":' * (HUGE_BYTES // 5), b"\x00" * HUGE_BYTES):
            yield from _find_unlawful(bench, f"{len(body)} bytes, unsigned", replace(raw, body=body, headers={}))
            signed = replace(raw, body=body, headers=dict(cast("WebhookDouble", double).sign(notice, body)))
            yield from _find_unlawful(bench, f"{len(body)} bytes, signed", signed)


def find_events_undeclared(bench: Bench) -> Iterator[str]:
    """Every event that the manifest lists comes of a webhook of the vendor, and no other does."""
    double = _find_double(bench)
    if double is None:
        return
    declared = set(bench.subject.manifest.events)
    seen: set[str] = set()
    for event in EVENTS[bench.subject.manifest.kind]:
        notice = Notice(event)
        if double.write(notice) is None:
            continue
        raw = _send(bench, notice)
        if isinstance(_verify(bench, raw), Accepted):
            try:
                seen |= {name_event(each) for each in _translate(bench, raw)}
            except Untranslatable:
                continue
    yield from (f"{name} is declared, but no webhook of the vendor becomes it" for name in sorted(declared - seen))
    yield from (f"{name or 'what is no event'} comes out, but is not declared" for name in sorted(seen - declared))


def find_headers_lost(bench: Bench) -> Iterator[str]:
    """A translation needs no header beside those that the host keeps."""
    for notice in _list_notices(bench):
        raw = _send(bench, notice)
        kept = {name: value for name, value in raw.headers.items() if name in _plugin(bench).webhook_headers}
        try:
            if _translate(bench, raw) != _translate(bench, replace(raw, headers=kept)):
                yield f"{notice.event}: means something else without the headers that are not kept"
        except (Untranslatable, KeyError) as error:
            yield f"{notice.event}: {type(error).__name__} without the headers that are not kept"


def find_impure(bench: Bench) -> Iterator[str]:
    """The same webhook means the same each time, and neither network, file, clock nor chance is touched."""
    for notice in _list_notices(bench):
        raw = _send(bench, notice)
        if _verify(bench, raw) != _verify(bench, raw) or _translate(bench, raw) != _translate(bench, raw):
            yield f"{notice.event}: means something else the second time"
        with watch() as seen:
            _verify(bench, raw)
            _translate(bench, raw)
        yield from (f"{notice.event}: touches {what}" for what in sorted(set(seen)))


def _takes(bench: Bench) -> bool:
    return bench.subject.manifest.webhooks.mode == "signed"


def _find_double(bench: Bench) -> WebhookDouble | None:
    return getattr(bench.subject.double, "webhooks", None) if _takes(bench) else None


def _plugin(bench: Bench) -> Any:
    return bench.plugin


def _list_notices(bench: Bench) -> list[Notice]:
    double = _find_double(bench)
    if double is None:
        return []
    notices = [Notice(event) for event in bench.subject.manifest.events]
    return [notice for notice in notices if double.write(notice) is not None]


def _send(bench: Bench, notice: Notice, *, stranger: bool = False) -> RawWebhook:
    double = cast("WebhookDouble", _find_double(bench))
    body = double.write(notice)
    if body is None:
        raise ValueError(f"the double writes {notice.event} at one time and not at another")
    return RawWebhook("POST", "", dict(double.sign(notice, body, stranger=stranger)), body, notice.sent_at_us)


def _verify(bench: Bench, raw: RawWebhook) -> object:
    return _plugin(bench).verify_webhook(raw)


def _translate(bench: Bench, raw: RawWebhook) -> tuple[Any, ...]:
    return _plugin(bench).translate_webhook(raw)


def _becomes_something(bench: Bench, raw: RawWebhook) -> bool:
    try:
        return bool(_translate(bench, raw))
    except Untranslatable:
        return False


def _accept(bench: Bench, notice: Notice) -> Accepted | None:
    """Return the verdict on a genuine webhook; None where it is refused, which another rule tells."""
    verdict = _verify(bench, _send(bench, notice))
    return verdict if isinstance(verdict, Accepted) else None


def _list_forgeries(double: WebhookDouble, notice: Notice, raw: RawWebhook) -> Iterator[tuple[str, RawWebhook]]:
    header = double.signature_header
    claimed = raw.headers[header]
    yield "unsigned", _with(raw, {name: value for name, value in raw.headers.items() if name != header})
    yield "signed by a stranger", _with(raw, double.sign(notice, raw.body, stranger=True))
    for part in ("", claimed[:-1], claimed[:-6], claimed[1:], claimed[: len(claimed) // 2], claimed[:8], claimed + "A"):
        yield "signature cut or longer", _with(raw, {**raw.headers, header: part})
    for at in range(0, len(claimed) - 1, max(1, len(claimed) // 16)):
        other = claimed[:at] + ("A" if claimed[at] != "A" else "B") + claimed[at + 1 :]
        yield "signature altered", _with(raw, {**raw.headers, header: other})
    for text in ("é" * len(claimed), claimed.swapcase(), "v1,", "v1a," + claimed.partition(",")[2], "None"):
        yield "signature altered", _with(raw, {**raw.headers, header: text})
    for name in sorted(double.signed_headers):
        value = raw.headers[name]
        for text in (
            "",
            value[:-1],
            value[:-1] + ("1" if value[-1] != "1" else "2"),
            value + "0",
            f" {value}",
            f"0{value}",
        ):
            yield f"{name} changed after signing", _with(raw, {**raw.headers, name: text})
    body, middle = raw.body, len(raw.body) // 2
    flipped = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in (0, middle, len(body) - 1)]
    for changed in (*flipped, body + b" ", b" " + body, body + b"\n", body[:-1], b""):
        yield "body changed after signing", replace(raw, body=changed)


def _with(raw: RawWebhook, headers: Mapping[str, str]) -> RawWebhook:
    return replace(raw, headers=dict(headers))


def _find_unlawful(bench: Bench, said: str, raw: RawWebhook) -> Iterator[str]:
    """Yield what a receiver does with a webhook that no receiver may do."""
    try:
        verdict = _verify(bench, raw)
    except Exception as error:  # noqa: BLE001 whatever it raises breaks the rule, and is told
        yield f"{said}: verify_webhook raises {type(error).__name__}"
        return
    if not isinstance(verdict, (Accepted, NotForUs, Forged)):
        yield f"{said}: verify_webhook returns {type(verdict).__name__}"
        return
    if not isinstance(verdict, Accepted):
        return
    texts = (verdict.event_id, verdict.object_id)
    if any(len(text) > MAX_EVENT_ID_LENGTH or not text.isprintable() for text in texts) or not (
        verdict.event_id and 0 <= verdict.sequence < 2**63
    ):
        yield f"{said}: an id or number that cannot be stored"
    try:
        events = _translate(bench, raw)
    except Untranslatable:
        return
    except Exception as error:  # noqa: BLE001 as above
        yield f"{said}: translate_webhook raises {type(error).__name__}"
        return
    yield from (f"{said}: becomes {each}" for each in events if name_event(each) not in bench.subject.manifest.events)


def _damage(chance: Random, body: bytes) -> bytes:
    damaged = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(damaged) + 1)
        what = chance.choice((b'"', b"\x00", b"9" * 30, b"\xff", b"{", b"}", b",", b"-", b"e9", b"null", b"\\u0000"))
        damaged[at : at + chance.randint(0, 3)] = what
    return bytes(damaged)
