"""Receivers of webhooks behind their guard: what fails is told as ours, held back where it may be, and left alone."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import msgspec
import pytest
from tests.integration.plughost.webhook_stand import PLUGIN

from pitboss.plughost.contracts import LoadedPlugin
from pitboss.plughost.errors import ReceiverHeld, ReceiverUnavailable
from pitboss.plughost.rules import FAULTS_TO_QUARANTINE
from pitboss.plughost.runtime import GuardedReceiver, load_host
from pitboss.plughost.runtime import receivers as receivers_module
from pitboss_sdk.events import GameSuspended
from pitboss_sdk.webhooks import Accepted, RawWebhook


class Failing:
    """A receiver that does what it is told."""

    webhook_headers: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, does: Any) -> None:
        self.does = does

    def verify_webhook(self, raw: RawWebhook) -> Any:
        return self.does(raw)

    def translate_webhook(self, raw: RawWebhook) -> Any:
        return self.does(raw)


RAW = RawWebhook("POST", "", {}, b"", 0)


@pytest.fixture(scope="module")
def softswiss() -> LoadedPlugin:
    return load_host(None).plugins[PLUGIN]


def fail(_raw: RawWebhook) -> Any:
    raise KeyError("what a stranger sent")


def leave(_raw: RawWebhook) -> Any:
    raise SystemExit


@pytest.mark.parametrize(
    "does",
    [
        fail,
        leave,
        lambda _: None,
        lambda _: Accepted("x" * 201),
        lambda _: Accepted("a\x00"),
        lambda _: Accepted(""),
        lambda _: Accepted("x", 10**18),
        lambda _: Accepted("x", -1),
    ],
)
async def test_a_receiver_that_fails_to_verify_is_not_held_back_by_strangers(
    softswiss: LoadedPlugin, does: Any
) -> None:
    receiver = GuardedReceiver("aurora", softswiss.manifest, Failing(does))
    for _ in range(FAULTS_TO_QUARANTINE + 2):
        with pytest.raises(ReceiverUnavailable) as raised:
            receiver.verify(RAW)
        assert not isinstance(raised.value, ReceiverHeld)
        assert "stranger" not in raised.value.detail


async def test_a_receiver_that_tells_no_time_is_not_believed(softswiss: LoadedPlugin) -> None:
    with pytest.raises(Exception, match="no time is signed"):
        GuardedReceiver("aurora", softswiss.manifest, Failing(lambda _: Accepted("id"))).verify(RAW)


class Lying(msgspec.Struct, frozen=True, tag="games.game_suspended"):
    game: int = 7


@pytest.mark.parametrize("does", [fail, leave, lambda _: None, lambda _: ("text",), lambda _: (Lying(),)])
async def test_a_receiver_that_fails_to_translate_is_held_back(softswiss: LoadedPlugin, does: Any) -> None:
    receiver = GuardedReceiver("aurora", softswiss.manifest, Failing(does))
    for _ in range(FAULTS_TO_QUARANTINE):
        with pytest.raises(ReceiverUnavailable) as raised:
            await receiver.translate(RAW)
        assert not isinstance(raised.value, ReceiverHeld)
    with pytest.raises(ReceiverHeld):
        await receiver.translate(RAW)


async def test_an_event_that_the_manifest_does_not_list_is_none(softswiss: LoadedPlugin) -> None:
    told = Failing(lambda _: (GameSuspended("book"),))
    assert await GuardedReceiver("aurora", softswiss.manifest, told).translate(RAW) == (GameSuspended("book"),)
    silent = msgspec.structs.replace(softswiss.manifest, events=("games.catalogue_changed",))
    with pytest.raises(ReceiverUnavailable, match="does not list"):
        await GuardedReceiver("aurora", silent, told).translate(RAW)


async def test_a_translation_that_does_not_end_is_left(
    softswiss: LoadedPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers_module, "TRANSLATE_SECONDS", 0.05)
    ended = threading.Event()
    receiver = GuardedReceiver("aurora", softswiss.manifest, Failing(lambda _: ended.wait(20)))
    try:
        with pytest.raises(ReceiverUnavailable, match="no end in time"):
            await receiver.translate(RAW)
    finally:
        ended.set()


async def test_translations_that_do_not_end_stand_in_no_other_receivers_way(
    softswiss: LoadedPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers_module, "TRANSLATE_SECONDS", 0.2)
    ended = threading.Event()
    # What else the process does in threads, and what other receivers do, as on a machine with few of them.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    stuck = GuardedReceiver("aurora", softswiss.manifest, Failing(lambda _: ended.wait(20)))
    other = GuardedReceiver("jade", softswiss.manifest, Failing(lambda _: (GameSuspended("book"),)))
    try:
        for _ in range(2):
            with pytest.raises(ReceiverUnavailable, match="no end in time"):
                await stuck.translate(RAW)
        assert await other.translate(RAW) == (GameSuspended("book"),)
        assert await asyncio.wait_for(asyncio.to_thread(int, "7"), 1) == 7
    finally:
        ended.set()
