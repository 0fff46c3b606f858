"""Rules about the calls that the plugin makes: outcomes, where they go, and what personal data they carry."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from pitboss_sdk.games import GameInfo, Launched, LaunchRequest, TransactionsRequest
from pitboss_sdk.manifest import list_egress_hosts
from pitboss_sdk.outcome import Done, Pending, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpResponse, MaybeSent, NotSent
from pitboss_sdk.testing.bench import Bench
from pitboss_sdk.testing.double import ACCOUNT, GAME, SESSION, SIGNED_AT_US, VendorDouble, VendorRequest, Wish
from pitboss_sdk.testing.guard import watch

T = TypeVar("T")

REQUEST: Final = LaunchRequest(
    account=ACCOUNT,
    session=SESSION,
    game=GAME,
    currency="EUR",
    language="en",
    country="MT",
    ip="203.0.113.7",
    return_url="https://brand.example/lobby",
    deadline_ms=4_000,
)
SPAN: Final = TransactionsRequest(SIGNED_AT_US, SIGNED_AT_US + 3_600_000_000, deadline_ms=4_000)
"""The hour of which the vendor's own books are asked for."""
PERSONAL: Final = {
    "player_id": {"account": "0193d3a0-7d1c-7c11-8a5e-4f2b6a9c0077"},
    "ip": {"ip": "198.51.100.9"},
    "country": {"country": "BR"},
    "language": {"language": "pt"},
}
"""Personal data in a launch, by the name that a manifest gives it, with another value."""
UNLISTED: Final = (200, 201, 202, 204, 301, 302, 400, 401, 403, 404, 409, 418, 429, 500, 502, 503, 504)
BODIES: Final = (b"", b"{}", b"[]", b"null", b"<html>proxy</html>", b"\xff\xfe", b'{"status":"ok"}', b'{"x":' * 9_000)


class Wire:
    """The injected client of the kit: keeps what is sent, and answers as it was told."""

    def __init__(
        self, double: VendorDouble, answer: HttpResponse | Exception | None = None, wish: Wish = "grant"
    ) -> None:
        self._double = double
        self._answer = answer
        self._wish: Wish = wish
        self.sent: list[VendorRequest] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_ms: int
    ) -> HttpResponse:
        """Keep the request and answer it."""
        lowered = {name.lower(): value for name, value in headers.items()}
        request = VendorRequest(method, url, lowered, body, timeout_ms)
        self.sent.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._double.serve(request, self._wish) if self._answer is None else self._answer


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for the injected client alone; raise `RuntimeError` when it waits for more."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    coroutine.close()
    raise RuntimeError("waits for something else than the injected client")


def launch(bench: Bench, wire: Wire, **changes: Any) -> Any:
    """Return the outcome of a launch."""
    return drive(bench.plugin.launch(wire, msgspec.structs.replace(REQUEST, **changes)))


def list_games(bench: Bench, wire: Wire) -> Any:
    """Return the outcome of asking for the catalogue."""
    return drive(bench.plugin.list_games(wire))


def list_transactions(bench: Bench, wire: Wire, request: TransactionsRequest = SPAN) -> Any:
    """Return the outcome of asking for the vendor's own books."""
    plugin: Any = bench.plugin
    return drive(plugin.list_transactions(wire, request))


def find_launches_failed(bench: Bench) -> Iterator[str]:
    """A launch that the vendor grants ends as `Done` with an address, within its deadline."""
    wire = Wire(bench.subject.double)
    outcome = launch(bench, wire)
    granted = _done(outcome)
    if not (isinstance(granted, Launched) and urlsplit(granted.url).hostname):
        yield f"a launch that the vendor grants ends as {outcome}"
    for field, other in (("account", "another-1"), ("session", "another-2"), ("game", "another-3")):
        if _sent(bench, **{field: other}) == wire.sent:
            yield f"{field} of a launch never reaches the vendor"
    for request in (*wire.sent, *_sent(bench, deadline_ms=1_500)):
        allowed_ms = REQUEST.deadline_ms if request in wire.sent else 1_500
        if not 0 < request.timeout_ms <= allowed_ms:
            yield f"a launch with {allowed_ms} ms left gives the vendor {request.timeout_ms} ms"


def find_refusals_lost(bench: Bench) -> Iterator[str]:
    """A launch that the vendor refuses ends as `Refused` with the vendor's code."""
    outcome = launch(bench, Wire(bench.subject.double, wish="refuse"))
    if not isinstance(outcome, Refused) or not outcome.code:
        yield f"a launch that the vendor refuses ends as {outcome}"


def find_departures_lost(bench: Bench) -> Iterator[str]:
    """A call of which no byte left ends as `Unsent`, one that may have left as `Unknown`; nothing is raised."""
    for name, call in _calls(bench).items():
        unsent = call(bench, Wire(bench.subject.double, NotSent("refused")))
        if not isinstance(unsent, Unsent):
            yield f"{name}: no byte left, but it ends as {unsent}"
        unknown = call(bench, Wire(bench.subject.double, MaybeSent("cut")))
        if not isinstance(unknown, (Unknown, Pending)):
            yield f"{name}: the answer was cut, but it ends as {unknown}"


def find_guesses(bench: Bench) -> Iterator[str]:
    """An answer that no document lists is neither a yes nor a no."""
    for name, call in _calls(bench).items():
        invented = call(bench, Wire(bench.subject.double, wish="invent"))
        if not isinstance(invented, (Unknown, Pending)):
            yield f"{name}: a status that no document lists ends as {type(invented).__name__}"
        for status in UNLISTED:
            for body in BODIES:
                outcome = call(bench, Wire(bench.subject.double, HttpResponse(status, {}, body)))
                if not _is_humble(outcome, status):
                    yield f"{name}: HTTP {status} with {body[:20]!r} ends as {type(outcome).__name__}"


def find_egress_undeclared(bench: Bench) -> Iterator[str]:
    """Calls go to the hosts that the manifest names, encrypted, and every host that it names is called."""
    config = msgspec.convert(bench.subject.config, bench.subject.plugin.Config)
    declared = set(list_egress_hosts(bench.subject.manifest, config))
    reached: set[str] = set()
    for name, call in _calls(bench).items():
        wire = Wire(bench.subject.double)
        call(bench, wire)
        for request in wire.sent:
            parts = urlsplit(request.url)
            host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
            names = {str(parts.hostname), host}
            if not names & declared:
                yield f"{name} goes to {host}, which the manifest does not name under egress"
            if parts.scheme != "https":
                yield f"{name} goes to {host} over {parts.scheme}"
            reached |= names
    for host in sorted(declared - reached):
        yield f"egress names {host}, which no call goes to"


def find_personal_data_undeclared(bench: Bench) -> Iterator[str]:
    """Personal data leaves the process if and only if the manifest declares it under `pii`."""
    declared = set(bench.subject.manifest.pii)
    plain = _sent(bench)
    for name, change in PERSONAL.items():
        leaves = _sent(bench, **change) != plain
        if leaves and name not in declared:
            yield f"a launch sends {name}, which the manifest does not declare"
        if not leaves and name in declared:
            yield f"the manifest declares {name}, but a launch sends nothing of it"
    for name in sorted(declared - {*PERSONAL, "none"}):
        yield f"the manifest declares {name}, which the plugin is never given"
    if "none" in declared and len(declared) > 1:
        yield "the manifest declares none and more"


def find_catalogue_undeclared(bench: Bench) -> Iterator[str]:
    """`game_list` is declared if and only if the catalogue can be had."""
    wire = Wire(bench.subject.double)
    outcome = list_games(bench, wire)
    if not bench.subject.capability.game_list:
        if wire.sent or isinstance(outcome, Done):
            yield "game_list is not declared, but list_games asks the vendor"
        return
    games = _done(outcome)
    if not games:
        yield f"game_list is declared, but list_games ends as {outcome}"
        return
    if not all(isinstance(game, GameInfo) and game.code and game.code.isprintable() for game in games):
        yield "a listed game has no code that can be stored"
    if len({game.code for game in games}) < len(games):
        yield "a game is listed twice"


def find_demo_declared(bench: Bench) -> Iterator[str]:
    """`launch_demo` stays false: the contract has no demonstration launch yet."""
    if bench.subject.capability.launch_demo:
        yield "launch_demo is declared, but the contract has no such call"


def find_outside_calls(bench: Bench) -> Iterator[str]:
    """The injected client is the only way out, and equal calls are equal to the byte: no clock, no chance."""
    for name, call in _calls(bench).items():
        first, second = Wire(bench.subject.double), Wire(bench.subject.double)
        call(bench, first)
        answer = bench.subject.double.serve(first.sent[0], "grant") if first.sent else None
        with watch() as seen:
            try:
                call(bench, second if answer is None else Wire(bench.subject.double, answer))
            except Exception as error:  # noqa: BLE001 what is raised here was stopped by the watch, and is told
                seen.append(type(error).__name__)
        for effect in sorted(set(seen)):
            yield f"{name} does {effect}"
        call(bench, second)
        if first.sent != second.sent:
            yield f"{name} sends other bytes the second time"


def find_secrets_told(bench: Bench) -> Iterator[str]:
    """No outcome carries a secret."""
    answers: list[HttpResponse | Exception | None] = [None, MaybeSent("cut"), NotSent("refused")]
    answers += [HttpResponse(status, {}, body) for status in (200, 400, 403, 500) for body in BODIES[:6]]
    for name, call in _calls(bench).items():
        told = "".join(repr(call(bench, Wire(bench.subject.double, answer))) for answer in answers)
        for secret in bench.subject.secrets.values():
            if secret.strip()[:64] in told:
                yield f"an outcome of {name} carries a secret"
                break


def _done(outcome: Any) -> Any:
    """Return what a `Done` holds; None for any other outcome."""
    return cast("Any", outcome).value if isinstance(outcome, Done) else None


def _is_humble(outcome: Any, status: int) -> bool:
    """Say whether an outcome claims no more than an unlisted answer tells: an empty list may be one, and a 4xx a no."""
    if isinstance(outcome, Done):
        return status == 200 and _done(outcome) == ()
    return isinstance(outcome, (Unknown, Pending)) or (isinstance(outcome, Refused) and 400 <= status < 500)


def _calls(bench: Bench) -> Mapping[str, Any]:
    capability = bench.subject.capability
    calls: dict[str, Any] = {"launch": launch}
    if capability.game_list:
        calls["list_games"] = list_games
    if capability.transaction_list and getattr(bench.subject.double, "transactions", None):
        calls["list_transactions"] = list_transactions
    return calls


def _sent(bench: Bench, **changes: Any) -> list[VendorRequest]:
    wire = Wire(bench.subject.double, MaybeSent("not of interest"))
    launch(bench, wire, **changes)
    return wire.sent
