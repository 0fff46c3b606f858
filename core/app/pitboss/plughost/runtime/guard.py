"""The guard around calls of a driver: deadline, places, pauses, and an outcome that claims no more than is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
import structlog

from pitboss.kernel.clock import epoch_seconds, monotonic_seconds
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import SpanName, span
from pitboss.plughost.contracts import Circuit, DriverHealth, HealthState, Verdict
from pitboss.plughost.rules import decide_admission, decide_circuit, decide_health
from pitboss.plughost.runtime.health import HealthBoard
from pitboss_sdk.games import (
    MAX_REFERENCE_LENGTH,
    GameInfo,
    GamesDriver,
    Launched,
    LaunchRequest,
    ListedTransaction,
    TransactionLister,
    TransactionsRequest,
)
from pitboss_sdk.outcome import Done, Outcome, Pending, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpClient, HttpResponse, MaybeSent, NotSent

T = TypeVar("T")

MAX_CALLS_AT_A_TIME: Final = 16
"""Calls of one tenant's driver; the next wait for a place as long as their deadline allows."""
LIST_DEADLINE_MS: Final = 30_000
GRACE_SECONDS: Final = 0.25
"""The client's own limits act first: it knows whether a byte left, the guard's deadline does not."""
MAX_TEXT: Final = 200
_LAST_US: Final = 253_402_300_800_000_000
"""The year 10000, in microseconds since 1970."""

_log = structlog.get_logger(__name__)


class _Faulty(Exception):
    """The plugin broke its contract."""


class _WatchedClient:
    """The way out for one call: it keeps the deadline and remembers whether a byte may have left."""

    def __init__(self, http: HttpClient, until: float) -> None:
        self._http = http
        self._until = until
        self.may_have_left = False

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_ms: int
    ) -> HttpResponse:
        """Send one request within what is left of the call's deadline."""
        left_ms = int((self._until - monotonic_seconds()) * 1000)
        if left_ms <= 0:
            raise NotSent("the deadline of the call is over")
        try:
            response = await self._http.request(
                method, url, headers=headers, body=body, timeout_ms=max(1, min(timeout_ms, left_ms))
            )
        except NotSent:
            raise
        except BaseException:  # cancelled in the middle, too: only the client could have told, and it did not
            self.may_have_left = True
            raise
        self.may_have_left = True
        return response


class GuardedDriver:
    """A tenant's driver as the rest of the house calls it; it raises nothing of the plugin's."""

    def __init__(
        self,
        *,
        tenant: str,
        plugin: str,
        instance: GamesDriver,
        http: HttpClient,
        secrets: Iterable[str] = (),
        metrics: Metrics | None = None,
        board: HealthBoard | None = None,
    ) -> None:
        self._tenant = tenant
        self._plugin = plugin
        self._instance = instance
        self._http = http
        self._secrets = tuple(text for text in (each.strip() for each in secrets) if text)
        self._metrics = metrics
        self._board = board
        self._places = asyncio.Semaphore(MAX_CALLS_AT_A_TIME)
        self._circuit = Circuit()
        self._health = HealthState.HEALTHY

    async def list_games(self) -> Outcome[tuple[GameInfo, ...]]:
        """Return the whole catalogue that the aggregator offers this tenant."""
        return await self._guard("list_games", LIST_DEADLINE_MS, self._instance.list_games, _demand_games)

    async def launch(self, request: LaunchRequest) -> Outcome[Launched]:
        """Open a game session at the aggregator."""

        def call(http: HttpClient) -> Awaitable[Outcome[Launched]]:
            return self._instance.launch(http, request)

        return await self._guard("launch", request.deadline_ms, call, _demand_launched)

    @property
    def lists_transactions(self) -> bool:
        """Whether the plugin can ask the aggregator for its own books."""
        return hasattr(self._instance, "list_transactions")

    async def list_transactions(self, request: TransactionsRequest) -> Outcome[tuple[ListedTransaction, ...]]:
        """Return what the aggregator's own books hold; `Refused` where the plugin cannot ask for them."""
        if not self.lists_transactions:
            return Refused("not_offered", "the plugin cannot ask for the aggregator's books")
        lister = cast("TransactionLister", self._instance)

        def call(http: HttpClient) -> Awaitable[Outcome[tuple[ListedTransaction, ...]]]:
            return lister.list_transactions(http, request)

        return await self._guard("list_transactions", request.deadline_ms, call, _demand_transactions)

    async def _guard(
        self,
        operation: str,
        deadline_ms: int,
        call: Callable[[HttpClient], Awaitable[Outcome[T]]],
        demand: Callable[[Any], T],
    ) -> Outcome[T]:
        with span(SpanName.PLUGIN_CALL, plugin=self._plugin, tenant=self._tenant, action=operation) as traced:
            outcome = await self._guard_call(operation, deadline_ms, call, demand)
            traced.note(outcome=type(outcome).__name__.lower())
        return outcome

    async def _guard_call(
        self,
        operation: str,
        deadline_ms: int,
        call: Callable[[HttpClient], Awaitable[Outcome[T]]],
        demand: Callable[[Any], T],
    ) -> Outcome[T]:
        began = monotonic_seconds()
        until = began + deadline_ms / 1000
        try:
            async with asyncio.timeout_at(_loop_time(until)):
                await self._places.acquire()
        except TimeoutError:
            self._count(operation, "crowded", began)
            return Unsent("too many calls at a time")
        try:
            held = decide_admission(self._circuit, monotonic_seconds())
            if held:
                self._count(operation, "held", began)
                return Unsent(held)
            self._circuit = msgspec.structs.replace(self._circuit, on_trial=self._circuit.is_paused)
            try:
                outcome, verdict = await self._call(operation, until, call, demand)
            except BaseException:  # cancelled: it says nothing about the driver, and the next call may try
                self._circuit = msgspec.structs.replace(self._circuit, on_trial=False)
                raise
        finally:
            self._places.release()
        self._circuit = decide_circuit(self._circuit, verdict, monotonic_seconds())
        self._count(operation, type(outcome).__name__.lower(), began)
        await self._tell_health(getattr(outcome, "reason", ""))
        return outcome

    async def _call(
        self,
        operation: str,
        until: float,
        call: Callable[[HttpClient], Awaitable[Outcome[T]]],
        demand: Callable[[Any], T],
    ) -> tuple[Outcome[T], Verdict]:
        """Return a call's outcome, normalised, and what it says about the driver."""
        http = _WatchedClient(self._http, until)
        timer = asyncio.timeout_at(_loop_time(until) + GRACE_SECONDS)
        try:
            async with timer:
                returned: object = await call(http)
            return self._normalise(returned, demand, may_have_left=http.may_have_left)
        except TimeoutError as error:
            fault = "the deadline is over" if timer.expired() else f"raised {type(error).__name__}"
            verdict = Verdict.FAILURE if timer.expired() else Verdict.FAULT
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            fault, verdict = "raised CancelledError", Verdict.FAULT
        except (NotSent, MaybeSent) as error:  # a driver need not catch what the client raises
            fault, verdict = type(error).__name__, Verdict.FAILURE
        except _Faulty as error:
            fault, verdict = str(error), Verdict.FAULT
        except (Exception, SystemExit) as error:  # noqa: BLE001 what a plugin raises must not pass
            fault, verdict = f"raised {type(error).__name__}", Verdict.FAULT
        _log.warning(
            "plugin.call_unfit", plugin=self._plugin, tenant=self._tenant, action=operation, problem=fault[:MAX_TEXT]
        )
        return (Unknown(fault) if http.may_have_left else Unsent(fault)), verdict

    def _normalise(
        self, returned: object, demand: Callable[[Any], T], *, may_have_left: bool
    ) -> tuple[Outcome[T], Verdict]:
        match returned:
            case Done():
                return Done(demand(cast("Any", returned).value)), Verdict.SUCCESS
            case Pending():
                reference = self._clean(returned.vendor_reference)
                return Pending(reference, self._clean(returned.reason)), Verdict.SUCCESS
            case Refused():
                return Refused(self._clean(returned.code), self._clean(returned.reason)), Verdict.SUCCESS
            case Unsent():
                reason = self._clean(returned.reason)
                # A driver that says so after an answer came back is wrong: what was sent may have been done.
                return (Unknown(reason) if may_have_left else Unsent(reason)), Verdict.FAILURE
            case Unknown():
                return Unknown(self._clean(returned.reason)), Verdict.FAILURE
            case _:
                raise _Faulty(f"returned {type(returned).__name__}, which is no outcome")

    def _clean(self, text: object) -> str:
        """Return a plugin's text without secrets and without what cannot be printed."""
        if not isinstance(text, str):
            raise _Faulty("returned an outcome whose text is none")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "".join(sign if sign.isprintable() else " " for sign in text[:MAX_TEXT])

    async def _tell_health(self, reason: str) -> None:
        state = decide_health(self._circuit)
        if state is HealthState.HEALTHY and self._health is HealthState.HEALTHY:
            return
        if state is not self._health:
            _log.warning("plugin.health_changed", plugin=self._plugin, tenant=self._tenant, outcome=state.name.lower())
        self._health = state
        if self._metrics is not None:
            self._metrics.plugin_health.labels(self._tenant, self._plugin).set(state.value)
        if self._board is not None:
            await self._board.record(DriverHealth(self._tenant, self._plugin, state, reason, epoch_seconds()))

    def _count(self, operation: str, outcome: str, began: float) -> None:
        if self._metrics is not None:
            self._metrics.record_plugin_call(
                self._tenant, self._plugin, operation, outcome, monotonic_seconds() - began
            )


def _demand_games(value: Any) -> tuple[GameInfo, ...]:
    games = _convert(value, tuple[GameInfo, ...])
    if not all(0 < len(game.code) <= MAX_REFERENCE_LENGTH and game.code.isprintable() for game in games):
        raise _Faulty("returned a game whose code cannot be stored")
    return games


def _demand_launched(value: Any) -> Launched:
    launched = _convert(value, Launched)
    if not (launched.url.startswith(("https://", "http://")) and launched.url.isprintable()):
        raise _Faulty("returned an address that no browser should go to")
    return launched


def _demand_transactions(value: Any) -> tuple[ListedTransaction, ...]:
    listed = _convert(value, tuple[ListedTransaction, ...])
    for one in listed:
        texts = (one.reference, one.round, one.currency)
        if not one.reference or any(len(text) > MAX_REFERENCE_LENGTH or not text.isprintable() for text in texts):
            raise _Faulty("returned a transaction whose ids cannot be stored")
        if not 0 <= one.amount_minor < 2**63 or not 0 <= one.happened_at_us < _LAST_US:
            raise _Faulty("returned a transaction whose amount or time cannot be")
    return listed


def _convert(value: Any, shape: type[T]) -> T:
    """Return a plugin's value with its fields checked: constructors of structs check nothing."""
    try:
        return msgspec.convert(msgspec.to_builtins(value), shape)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise _Faulty(f"returned a value that is not what was asked for: {type(error).__name__}") from None


def _loop_time(moment: float) -> float:
    return asyncio.get_running_loop().time() + moment - monotonic_seconds()
