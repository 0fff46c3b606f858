"""The guard around drivers, with real vendors: refused, slow, cut in the middle, garbage, and plugins that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.factories.ports import free_port

from pitboss.kernel.clock import epoch_seconds
from pitboss.platform.http import PluginHttpClient
from pitboss.platform.redis import CellRedis
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.contracts import DriverHealth, HealthState
from pitboss.plughost.rules import FAILURES_TO_PAUSE, FAULTS_TO_QUARANTINE
from pitboss.plughost.runtime import GuardedDriver, HealthBoard
from pitboss.plughost.runtime.guard import MAX_CALLS_AT_A_TIME
from pitboss_sdk.games import (
    GameInfo,
    Launched,
    LaunchRequest,
    LegKind,
    ListedState,
    ListedTransaction,
    TransactionsRequest,
)
from pitboss_sdk.outcome import Done, Outcome, Pending, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpClient, MaybeSent, NotSent

SECRET = "the-secret-of-the-tenant"
Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve(behave: Behave) -> AsyncIterator[str]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            await behave(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def say(text: bytes) -> Behave:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return behave


async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the caller hangs up


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nConnection: close\r\n\r\nhalf"
GARBAGE = b"\x00\x01 this is no HTTP at all\r\n\r\n"


class Plugin:
    """A driver whose launch does what the test wrote."""

    def __init__(self, launch: Callable[[HttpClient, LaunchRequest], Awaitable[Any]]) -> None:
        self._launch = launch

    async def launch(self, http: HttpClient, request: LaunchRequest) -> Any:
        return await self._launch(http, request)

    async def list_games(self, http: HttpClient) -> Any:
        return await self._launch(http, request())


def request(deadline_ms: int = 3_000) -> LaunchRequest:
    return LaunchRequest("p-1", "s-1", "book", "EUR", "en", deadline_ms=deadline_ms)


@pytest.fixture
async def http() -> AsyncIterator[PluginHttpClient]:
    client = PluginHttpClient("made", ["127.0.0.1"])
    yield client
    await client.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def guard(
    http: HttpClient, launch: Callable[[HttpClient, LaunchRequest], Awaitable[Any]], **more: Any
) -> GuardedDriver:
    return GuardedDriver(
        tenant="aurora", plugin="made", instance=Plugin(launch), http=http, secrets=[SECRET, ""], **more
    )


async def fetch(http: HttpClient, url: str, timeout_ms: int = 60_000) -> None:
    await http.request("GET", url, headers={}, body=b"", timeout_ms=timeout_ms)


GRANTED = Done(Launched("https://play.example/1"))


def calling(url: str, then: Any = GRANTED) -> Callable[[HttpClient, LaunchRequest], Awaitable[Any]]:
    """A driver that catches nothing of what its call raises."""

    async def launch(http: HttpClient, _request: LaunchRequest) -> Any:
        await fetch(http, url)
        return then

    return launch


async def test_an_answer_passes(http: PluginHttpClient) -> None:
    async with serve(say(OK)) as url:
        assert await guard(http, calling(url)).launch(request()) == GRANTED


async def test_a_refused_connection_is_unsent(http: PluginHttpClient) -> None:
    outcome = await guard(http, calling(f"http://127.0.0.1:{free_port()}")).launch(request())
    assert isinstance(outcome, Unsent)


@pytest.mark.parametrize("text", [CUT, GARBAGE, b""], ids=["cut", "garbage", "closed"])
async def test_a_call_without_a_whole_answer_is_unknown(http: PluginHttpClient, text: bytes) -> None:
    async with serve(say(text)) as url:
        assert isinstance(await guard(http, calling(url)).launch(request()), Unknown)


async def test_a_slow_vendor_is_unknown_at_the_deadline_whatever_the_plugin_allows(http: PluginHttpClient) -> None:
    async with serve(be_silent) as url:
        outcome = await guard(http, calling(url)).launch(request(deadline_ms=2_000))
        assert isinstance(outcome, Unknown)


async def test_a_handshake_that_never_ends_is_unsent_at_the_deadline(http: PluginHttpClient) -> None:
    async with serve(be_silent) as url:
        driver = guard(http, calling(url.replace("http:", "https:")))
        assert isinstance(await driver.launch(request(deadline_ms=300)), Unsent)


async def test_a_plugin_that_waits_for_something_else_is_stopped_and_proved_unsent(http: PluginHttpClient) -> None:
    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        await asyncio.sleep(60)

    outcome = await guard(http, launch).launch(request(deadline_ms=200))
    assert outcome == Unsent("the deadline is over")


async def test_what_is_raised_before_a_byte_left_is_unsent_and_after_it_unknown(http: PluginHttpClient) -> None:
    async def before(_http: HttpClient, _request: LaunchRequest) -> Any:
        raise KeyError(SECRET)

    assert await guard(http, before).launch(request()) == Unsent("raised KeyError")
    async with serve(say(OK)) as url:

        async def after(http: HttpClient, _request: LaunchRequest) -> Any:
            await fetch(http, url)
            raise SystemExit(SECRET)

        assert await guard(http, after).launch(request()) == Unknown("raised SystemExit")


@pytest.mark.parametrize("error", [asyncio.CancelledError, TimeoutError, MemoryError])
async def test_no_error_of_a_plugin_passes_for_one_of_the_host(
    http: PluginHttpClient, error: type[BaseException]
) -> None:
    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        raise error

    assert await guard(http, launch).launch(request()) == Unsent(f"raised {error.__name__}")


@pytest.mark.parametrize(
    "returned",
    [
        None,
        True,
        "https://play.example/1",
        Launched("https://play.example/1"),
        Done("https://play.example/1"),
        Done(Launched("javascript:alert(1)")),
        Done(Launched("https://play.example/\n")),
        Done(Launched(7)),  # type: ignore[arg-type]
        Done(None),
        Refused(None),  # type: ignore[arg-type]
    ],
    ids=repr,
)
async def test_what_is_no_outcome_is_unknown_once_a_byte_left(http: PluginHttpClient, returned: Any) -> None:
    async def never(_http: HttpClient, _request: LaunchRequest) -> Any:
        return returned

    assert isinstance(await guard(http, never).launch(request()), Unsent)
    async with serve(say(OK)) as url:
        assert isinstance(await guard(http, calling(url, returned)).launch(request()), Unknown)


async def test_unsent_is_not_believed_after_an_answer(http: PluginHttpClient) -> None:
    async with serve(say(OK)) as url:
        assert await guard(http, calling(url, Unsent("nothing left"))).launch(request()) == Unknown("nothing left")


async def test_the_catalogue_is_checked_too(http: PluginHttpClient) -> None:
    async def games(_http: HttpClient, _request: LaunchRequest) -> Any:
        return Done((GameInfo("book", "Book"),))

    assert await guard(http, games).list_games() == Done((GameInfo("book", "Book"),))
    for unfit in (GameInfo("bo\x00ok", "Book"), GameInfo("", "Book"), GameInfo("book", 7)):  # type: ignore[arg-type]

        async def launch(_http: HttpClient, _request: LaunchRequest, game: GameInfo = unfit) -> Any:
            return Done((game,))

        assert isinstance(await guard(http, launch).list_games(), Unsent)


class Lister(Plugin):
    """A driver that also asks for the vendor's own books."""

    async def list_transactions(self, http: HttpClient, _request: TransactionsRequest) -> Any:
        return await self._launch(http, request())


LISTED = ListedTransaction("t-1", LegKind.BET, ListedState.BOOKED, 500, "EUR", "r-1", 1_790_000_000_000_000)


@pytest.mark.parametrize(
    "changes",
    [{"reference": ""}, {"reference": "x" * 129}, {"round": "r\n"}, {"amount_minor": -1}, {"happened_at_us": 10**18}],
    ids=str,
)
async def test_the_vendors_books_are_checked_too(http: PluginHttpClient, changes: dict[str, Any]) -> None:
    def telling(*listed: ListedTransaction) -> GuardedDriver:
        async def tell(_http: HttpClient, _request: LaunchRequest) -> Any:
            return Done(listed)

        return GuardedDriver(tenant="aurora", plugin="made", instance=Lister(tell), http=http)

    asked = TransactionsRequest(0, 1)
    assert telling(LISTED).lists_transactions
    assert await telling(LISTED).list_transactions(asked) == Done((LISTED,))
    unfit = msgspec.structs.replace(LISTED, **changes)
    assert isinstance(await telling(LISTED, unfit).list_transactions(asked), Unsent)


async def test_a_plugin_without_books_is_asked_for_none(http: PluginHttpClient) -> None:
    driver = guard(http, calling("http://127.0.0.1:1"))
    assert not driver.lists_transactions
    assert isinstance(await driver.list_transactions(TransactionsRequest(0, 1)), Refused)


@pytest.mark.parametrize(
    ("outcome", "clean"),
    [
        (Refused("100", f"key {SECRET} is wrong"), Refused("100", "key *** is wrong")),
        (Unknown(f"{SECRET}\x00\n"), Unknown("***  ")),
        (Unsent("x" * 900), Unsent("x" * 200)),
        (Pending(f"ref {SECRET}"), Pending("ref ***")),
    ],
)
async def test_no_text_of_an_outcome_tells_a_secret(http: PluginHttpClient, outcome: Any, clean: Any) -> None:
    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        return outcome

    assert await guard(http, launch).launch(request()) == clean


async def test_a_vendor_that_fails_again_and_again_is_given_a_rest(http: PluginHttpClient) -> None:
    calls: list[int] = []

    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        calls.append(1)
        return Unknown("no answer")

    driver = guard(http, launch)
    for _ in range(FAILURES_TO_PAUSE):
        assert await driver.launch(request()) == Unknown("no answer")
    assert await driver.launch(request()) == Unsent("held back: the vendor fails")
    assert len(calls) == FAILURES_TO_PAUSE


async def test_places_are_bounded_and_waited_for_as_long_as_the_deadline_allows(http: PluginHttpClient) -> None:
    inside, most = 0, 0
    open_gate, full = asyncio.Event(), asyncio.Event()

    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        nonlocal inside, most
        inside += 1
        if inside == MAX_CALLS_AT_A_TIME:
            full.set()
        most = max(most, inside)
        await open_gate.wait()
        inside -= 1
        return GRANTED

    driver = guard(http, launch)
    waiting = [asyncio.create_task(driver.launch(request())) for _ in range(MAX_CALLS_AT_A_TIME + 4)]
    await full.wait()
    assert await driver.launch(request(deadline_ms=150)) == Unsent("too many calls at a time")
    open_gate.set()
    assert await asyncio.gather(*waiting) == [GRANTED] * len(waiting)
    assert most == MAX_CALLS_AT_A_TIME


async def test_a_cancelled_call_gives_its_place_back_and_says_nothing_about_the_vendor(http: PluginHttpClient) -> None:
    async def launch(_http: HttpClient, request: LaunchRequest) -> Any:
        if request.game == "slow":
            await asyncio.sleep(60)
        return GRANTED

    driver = guard(http, launch)
    for _ in range(MAX_CALLS_AT_A_TIME + FAILURES_TO_PAUSE):
        slow = LaunchRequest("p-1", "s-1", "slow", "EUR", "en")
        task = asyncio.create_task(driver.launch(slow))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await driver.launch(request()) == GRANTED


async def test_a_cancelled_trial_lets_the_next_call_try(
    http: PluginHttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pitboss.plughost.rules.PAUSE_SECONDS", 0)
    answers: list[Any] = [Unknown("no")] * FAILURES_TO_PAUSE

    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        if answers:
            return answers.pop()
        if not hasattr(launch, "tried"):
            launch.tried = True  # type: ignore[attr-defined]
            await asyncio.sleep(60)
        return GRANTED

    driver = guard(http, launch)
    for _ in range(FAILURES_TO_PAUSE):
        await driver.launch(request())
    trial = asyncio.create_task(driver.launch(request()))
    await asyncio.sleep(0.05)
    assert await driver.launch(request()) == Unsent("held back: the vendor fails"), "one trial at a time"
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert await driver.launch(request()) == GRANTED


async def test_metrics_tell_each_outcome_and_the_health(http: PluginHttpClient, metrics: Metrics) -> None:
    answers: list[Outcome[Launched]] = [GRANTED, Refused("1"), *[Unknown("no")] * FAILURES_TO_PAUSE]

    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        return answers.pop(0)

    driver = guard(http, launch, metrics=metrics)
    for _ in range(FAILURES_TO_PAUSE + 3):
        await driver.launch(request())
    text = metrics.render().decode()
    for outcome, count in (("done", 1), ("refused", 1), ("unknown", FAILURES_TO_PAUSE), ("held", 1)):
        labels = f'operation="launch",outcome="{outcome}",plugin="made",tenant="aurora"'
        assert f"pitboss_plugin_calls_total{{{labels}}} {count}.0" in text
    assert 'pitboss_plugin_health{plugin="made",tenant="aurora"} 1.0' in text
    assert f'pitboss_plugin_call_seconds_count{{operation="launch",plugin="made"}} {FAILURES_TO_PAUSE + 3}.0' in text


async def test_trouble_is_told_to_every_process_of_the_cell_and_taken_back(
    http: PluginHttpClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pitboss.plughost.rules.QUARANTINE_SECONDS", 0)
    redis = CellRedis(redis_url, "eu-1")
    broken = True

    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        if broken:
            raise KeyError
        return GRANTED

    try:
        driver = guard(http, launch, board=HealthBoard(redis, "worker-1"))
        board = HealthBoard(redis, "web-1")
        for _ in range(FAULTS_TO_QUARANTINE):
            assert await board.list_troubled() == []
            await driver.launch(request())
        (told,) = await board.list_troubled()
        assert (told.tenant, told.plugin, told.state) == ("aurora", "made", HealthState.QUARANTINED)
        assert told.reason == "raised KeyError"
        # What another process says in milder words does not hide it; what is old fades.
        await board.record(DriverHealth("aurora", "made", HealthState.DEGRADED, "no answer", told.seen_at))
        await board.record(DriverHealth("aurora", "other", HealthState.DEGRADED, "long ago", told.seen_at - 1_000))
        assert await board.list_troubled() == [told]
        broken = False
        assert await driver.launch(request()) == GRANTED
        assert [each.state for each in await board.list_troubled()] == [HealthState.DEGRADED]
    finally:
        await redis.close()


async def test_the_worst_that_any_process_says_counts(redis_url: str) -> None:
    redis = CellRedis(redis_url, "eu-1")
    plugins = [f"plugin-{number}" for number in range(16)]  # many: Redis gives notes in no order
    now = epoch_seconds()
    try:
        for plugin in plugins:
            for process, state in (("a", HealthState.DEGRADED), ("b", HealthState.QUARANTINED)):
                await HealthBoard(redis, process).record(DriverHealth("aurora", plugin, state, process, now))
        listed = await HealthBoard(redis, "c").list_troubled()
        assert {each.plugin: each.reason for each in listed} == dict.fromkeys(plugins, "b")
    finally:
        await redis.close()


async def test_without_redis_calls_go_on(http: PluginHttpClient) -> None:
    redis = CellRedis(f"redis://127.0.0.1:{free_port()}/0", "eu-1")

    async def launch(_http: HttpClient, _request: LaunchRequest) -> Any:
        raise KeyError

    try:
        driver = guard(http, launch, board=HealthBoard(redis, "worker-1"))
        for _ in range(FAULTS_TO_QUARANTINE):
            assert await driver.launch(request()) == Unsent("raised KeyError")
        assert await driver.launch(request()) == Unsent("held back: the plugin breaks its contract")
    finally:
        await redis.close()


async def test_a_driver_need_not_catch_what_the_client_raises(http: PluginHttpClient) -> None:
    async def caught(http: HttpClient, _request: LaunchRequest) -> Any:
        try:
            await fetch(http, "https://elsewhere.example/")
        except (NotSent, MaybeSent) as error:
            return Unsent(str(error))

    outcome = await guard(http, caught).launch(request())
    assert outcome == Unsent("the host is not on the plugin's egress list")
    assert await guard(http, calling("https://elsewhere.example/")).launch(request()) == Unsent("NotSent")
