"""Webhooks from the address to their effect: what is believed, what is kept, what is done once, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase
from tests.factories.web import run_command
from tests.integration.plughost.webhook_stand import (
    AURORA,
    DEPLOYMENT,
    GAMES,
    JADE,
    PLUGIN,
    SECRETS,
    WebhookStand,
    config_of,
    furnish,
    open_stand,
)

from pitboss.games import service as games
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import Origin
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import CATALOGUE_JOB, WebhookState
from pitboss.plughost.errors import ReceiverHeld, ReceiverUnavailable
from pitboss.plughost.rules import MAX_WEBHOOK_ATTEMPTS, QUARANTINE_SECONDS
from pitboss.plughost.runtime import receivers as receivers_module
from pitboss_sdk.testing import Notice, NoticeSender
from pitboss_sdk.webhooks import RawWebhook, Untranslatable

STORED, DONE, SUPERSEDED, PARKED = WebhookState


@pytest.fixture
async def stand(cell_database: PlaneDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[WebhookStand]:
    async with open_stand(cell_database, redis_url, tmp_path) as opened:
        yield opened


async def test_a_notice_is_stored_before_it_is_answered_and_then_carried_out(stand: WebhookStand) -> None:
    answer = await stand.post(event_id="first")
    assert (answer.status_code, answer.content) == (202, b"")
    assert await stand.events() == [("first", STORED, "")]
    assert await stand.is_in_play()
    assert await stand.work() == ["done"]
    assert await stand.events() == [("first", DONE, "")]
    assert not await stand.is_in_play()
    assert await stand.is_in_play(GAMES[1])
    ((kind, causation),) = await stand.rows(
        "select type, origin ->> 'causation_id' from audit_event where target_id = :target",
        target=f"{PLUGIN}:{GAMES[0]}",
    )
    assert (kind, causation) == ("game.suspended", "first")


async def test_a_repetition_changes_nothing_however_late_and_however_often(stand: WebhookStand) -> None:
    for ago_seconds in (0, 120, 240):
        assert (await stand.post(event_id="one", ago_seconds=ago_seconds)).status_code == 202
    assert await stand.work() == ["done"]
    assert (await stand.post(event_id="one")).status_code == 202
    assert await stand.work() == []
    assert await stand.events() == [("one", DONE, "")]
    assert (stand.count("stored"), stand.count("repeated")) == (1, 3)


async def test_twelve_at_once_are_one(stand: WebhookStand) -> None:
    answers = await asyncio.gather(*(stand.post(event_id="same") for _ in range(12)))
    assert {answer.status_code for answer in answers} == {202}
    assert await stand.rows("select count(*) from webhook") == [(1,)]
    assert len(await stand.work()) == 1
    assert (stand.count("stored"), stand.count("repeated")) == (1, 11)


async def test_a_forged_one_leaves_nothing_but_a_count(stand: WebhookStand) -> None:
    forged = [
        await stand.post(stranger=True),
        await stand.post(secret="jade-notice-secret"),
        await stand.post(headers={"webhook-signature": ""}),
        await stand.post(headers={"webhook-id": "another"}),
        await stand.post(headers={"webhook-timestamp": "1"}),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in forged} == {(403, "plughost.webhook_forged")}
    assert await stand.events() == []
    assert await stand.rows("select count(*) from outbox_job where job like 'plughost.%'") == [(0,)]
    assert stand.count("forged") == len(forged)


@pytest.mark.parametrize(("ago_seconds", "status"), [(290, 202), (-290, 202), (310, 422), (-310, 422), (10**8, 422)])
async def test_a_signed_time_holds_for_five_minutes_either_way(
    stand: WebhookStand, ago_seconds: int, status: int
) -> None:
    answer = await stand.post(ago_seconds=ago_seconds)
    assert answer.status_code == status, answer.text
    assert len(await stand.events()) == (status == 202)
    assert stand.count("stale") == (status == 422)


async def test_what_is_meant_for_another_merchant_is_another_refusal(stand: WebhookStand) -> None:
    answer = await stand.post(operator="somebody-else")
    assert (answer.status_code, answer.json()["code"]) == (422, "plughost.webhook_not_for_us")
    assert await stand.events() == []
    assert stand.count("not_for_us") == 1


async def test_addresses_of_others(stand: WebhookStand) -> None:
    foreign = await stand.post(path=f"/webhooks/onyx/{PLUGIN}")
    assert foreign.status_code == 421
    assert "https://br-1.example" in foreign.text
    # Before any plugin: one that nobody has is told the same way.
    assert (await stand.post(path="/webhooks/onyx/nothing")).status_code == 421
    assert (await stand.post(path=f"/webhooks/nobody/{PLUGIN}")).status_code == 404
    for path in (f"/webhooks/paused/{PLUGIN}", "/webhooks/aurora/hub88", "/webhooks/aurora/nothing"):
        answer = await stand.post(path=path)
        assert (answer.status_code, answer.json()["code"]) == (404, "plughost.webhooks_not_taken"), path
    # Aurora's own, at Jade's address: it cannot be Jade's sender's.
    assert (await stand.post(path=f"/webhooks/jade/{PLUGIN}")).status_code == 403
    assert await stand.events(AURORA) == await stand.events(JADE) == []


async def test_one_id_at_two_tenants_is_two_events(stand: WebhookStand) -> None:
    for scope in (AURORA, JADE):
        assert (await stand.post(event_id="same", scope=scope)).status_code == 202
    assert await stand.work() == ["done", "done"]
    assert not await stand.is_in_play(scope=AURORA)
    assert not await stand.is_in_play(scope=JADE)


async def test_bounds(stand: WebhookStand) -> None:
    assert (await stand.post(body=b" " * (256 * 1024 + 1))).status_code == 413
    assert (await stand.post(headers={f"x-{n}": "1" for n in range(120)})).status_code == 431
    assert (await stand.post(headers={"x-long": "y" * 20_000})).status_code == 431
    assert (await stand.client.get(f"/webhooks/aurora/{PLUGIN}")).status_code == 405
    assert (await stand.post(path=f"/webhooks/aurora/{PLUGIN}/deeper")).status_code == 403
    assert await stand.events() == []


async def test_headers_that_are_kept_are_a_list(stand: WebhookStand) -> None:
    secret = {"authorization": "Bearer of-nobody", "cookie": "a=b", "x-forwarded-for": "203.0.113.9"}
    assert (await stand.post(headers=secret)).status_code == 202
    ((headers, body),) = await stand.rows("select headers, body from webhook")
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert b"games.game_suspended" in body


async def test_a_header_that_comes_twice_is_none(stand: WebhookStand) -> None:
    sender = NoticeSender("aurora", SECRETS["aurora-notice-secret"])
    notice = Notice("games.catalogue_changed", sent_at_us=epoch_seconds() * 1_000_000)
    body = sender.write(notice)
    signed = list(sender.sign(notice, body or b"").items())
    for extra, status in (([("webhook-id", notice.event_id)], 403), ([], 202)):
        answer = await stand.client.post(f"/webhooks/aurora/{PLUGIN}", content=body, headers=[*signed, *extra])
        assert answer.status_code == status


async def test_both_secrets_are_believed_while_one_is_replaced(
    stand: WebhookStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers_module, "LOOK_SECONDS", 0)
    assert (await stand.post(secret="older-notice-secret")).status_code == 403
    both = {**config_of(AURORA), "previous_notice_secret": {"secret": "older-notice-secret"}}
    await stand.enable(AURORA, both)
    assert (await stand.post(secret="older-notice-secret")).status_code == 202
    assert (await stand.post()).status_code == 202
    # The file alone is written: what is there is used without a restart, in both processes.
    stand.write_secrets({**SECRETS, "older-notice-secret": SECRETS["jade-notice-secret"]})
    assert (await stand.post(secret="older-notice-secret")).status_code == 403
    assert (await stand.post(secret="jade-notice-secret", operator="aurora")).status_code == 202


async def test_a_plugin_that_is_switched_off_takes_none_and_what_is_stored_waits(
    stand: WebhookStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers_module, "LOOK_SECONDS", 0)
    assert (await stand.post(event_id="before")).status_code == 202
    async with stand.app.transaction(AURORA) as session:
        await plughost.disable_plugin(session, AURORA, PLUGIN, actor=DEPLOYMENT, origin=Origin())
    assert (await stand.post()).status_code == 404
    assert await stand.work() == ["done"]
    ((_, state, reason),) = await stand.events()
    assert (state, reason.partition(":")[0]) == (STORED, "plughost.webhooks_not_taken")
    await stand.enable(AURORA, config_of(AURORA))
    await stand.work()
    assert await stand.events() == [("before", DONE, "")]


async def test_a_newer_event_of_an_object_wins_in_whatever_order_they_come(stand: WebhookStand) -> None:
    await stand.post("games.game_resumed", event_id="third", sequence=3)
    await stand.work()
    await stand.post("games.game_suspended", event_id="second", sequence=2)
    await stand.post("games.game_suspended", event_id="other", sequence=1, game=GAMES[1])
    await stand.work()
    found = {event_id: (state, reason) for event_id, state, reason in await stand.events()}
    assert found["third"] == (DONE, "")
    assert found["second"] == (SUPERSEDED, "a newer event of the same object was carried out before")
    assert found["other"] == (DONE, "")
    assert await stand.is_in_play(GAMES[0])
    assert not await stand.is_in_play(GAMES[1])


async def test_what_the_operator_switched_off_no_notice_switches_on(stand: WebhookStand) -> None:
    async with stand.app.transaction(AURORA) as session:
        await games.set_game_enabled(session, AURORA, GAMES[0], enabled=False, actor=DEPLOYMENT, origin=Origin())
    await stand.post("games.game_suspended", sequence=1)
    await stand.post("games.game_resumed", sequence=2)
    await stand.work()
    assert not await stand.is_in_play()
    async with stand.app.transaction(AURORA) as session:
        game = await games.set_game_enabled(session, AURORA, GAMES[0], enabled=True, actor=DEPLOYMENT, origin=Origin())
    assert game.enabled
    await stand.post("games.game_suspended", sequence=3)
    await stand.work()
    async with stand.app.transaction(AURORA) as session:
        await games.set_game_enabled(session, AURORA, GAMES[0], enabled=False, actor=DEPLOYMENT, origin=Origin())
        game = await games.set_game_enabled(session, AURORA, GAMES[0], enabled=True, actor=DEPLOYMENT, origin=Origin())
    assert (game.enabled, game.suspended) == (False, True)
    assert not await stand.is_in_play()


async def test_many_changes_of_a_list_ask_for_it_once(stand: WebhookStand) -> None:
    for number in range(5):
        await stand.post("games.catalogue_changed", event_id=f"list-{number}")
    await stand.post("games.catalogue_changed", scope=JADE)
    await stand.work()
    open_syncs = "select payload from outbox_job where job = :job and done_at is null"
    assert await stand.rows(open_syncs, AURORA, job=CATALOGUE_JOB) == [({"plugin": PLUGIN},)]
    assert await stand.rows(open_syncs, JADE, job=CATALOGUE_JOB) == [({"plugin": PLUGIN},)]
    # One that a relay has taken may have looked before: the next change asks again.
    await stand.rows(
        "update outbox_job set lease_until = now() + interval '1 minute' where job = :job returning 1",
        job=CATALOGUE_JOB,
    )
    await stand.post("games.catalogue_changed")
    await stand.work()
    assert len(await stand.rows(open_syncs, AURORA, job=CATALOGUE_JOB)) == 2


async def test_an_event_that_cannot_be_carried_out_is_tried_again_and_then_parked(stand: WebhookStand) -> None:
    await stand.post(game="not-in-the-catalogue", event_id="early")
    assert await stand.work(rounds=MAX_WEBHOOK_ATTEMPTS - 1) == ["done"] * (MAX_WEBHOOK_ATTEMPTS - 1)
    assert [state for _, state, _ in await stand.events()] == [STORED]
    ((due_in,),) = await stand.rows(
        "select extract(epoch from available_at - now())::int from outbox_job where job like 'plughost.%' and done_at is null"
    )
    assert 25 <= due_in <= 33
    assert await stand.work() == ["done"]
    assert await stand.work() == []
    ((_, state, reason),) = await stand.events()
    assert (state, reason) == (PARKED, "games.game_not_found: this game is not in the catalogue")
    assert await stand.rows("select count(*) from webhook_object") == [(0,)]
    async with stand.worker.transaction(AURORA) as session:
        assert await plughost.count_parked(session, AURORA) == {PLUGIN: 1}


async def test_what_is_parked_is_listed_and_carried_out_after_all(stand: WebhookStand) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = run_command(stand.web.settings, "webhook", *arguments)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    assert await asyncio.to_thread(run, "parked", "aurora") == (0, "nothing is parked\n")
    for event_id in ("early", "late"):
        await stand.post(game="not-in-the-catalogue", event_id=event_id)
    await stand.work(rounds=MAX_WEBHOOK_ATTEMPTS)
    code, listed = await asyncio.to_thread(run, "parked", "aurora", "--most", "1")
    assert code == 0
    assert f"{PLUGIN}  early  attempts {MAX_WEBHOOK_ATTEMPTS}: games.game_not_found" in listed
    assert "and more" in listed
    assert "late" not in listed
    for names in (("jade",), ("aurora", "--event", "never"), ("aurora", "--plugin", "hub88")):
        code, refused = await asyncio.to_thread(run, "again", *names)
        assert (code, "nothing that is parked fits" in refused) == (1, True)
    assert await stand.work() == []
    await furnish(stand.app, [AURORA], [*GAMES, "not-in-the-catalogue"])
    assert (await asyncio.to_thread(run, "again", "aurora", "--event", "early"))[0] == 0
    assert await stand.work() == ["done"]
    assert [(event_id, state) for event_id, state, _ in await stand.events()] == [("early", DONE), ("late", PARKED)]
    assert not await stand.is_in_play("not-in-the-catalogue")
    # A job that was left twice, or for what is done by now, does nothing.
    for _ in range(2):
        await asyncio.to_thread(run, "again", "aurora")
    await stand.work()
    assert [state for _, state, _ in await stand.events()] == [DONE, SUPERSEDED]
    events = "select count(*) from audit_event where type = 'webhook.tried_again' and actor_kind = 'deployment'"
    assert await stand.rows(events) == [(3,)]


async def test_what_is_signed_and_means_nothing_is_parked_at_once(stand: WebhookStand) -> None:
    for number, body in enumerate((b"{", b'{"type":"games.invented","data":{"operator":"aurora"}}', b"\xff")):
        assert (await stand.post(event_id=f"bad-{number}", body=body)).status_code == 202
    await stand.work()
    assert [(state, bool(reason)) for _, state, reason in await stand.events()] == [(PARKED, True)] * 3


class Translating:
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def translate(self, raw: RawWebhook) -> tuple[Any, ...]:
        if self.error is not None:
            raise self.error
        return ("event",)


async def settle(stand: WebhookStand, error: Exception | None, do: Any = None, *, again: bool = False) -> Any:
    async def nothing(_event: Any) -> None: ...

    async with stand.worker.transaction(AURORA) as session:
        translator = Translating(error)
        return await plughost.settle_webhook(session, AURORA, translator, PLUGIN, "it", do or nothing, again=again)


async def test_one_that_is_held_back_costs_an_event_no_attempt(stand: WebhookStand) -> None:
    await stand.post(event_id="it")
    for _ in range(MAX_WEBHOOK_ATTEMPTS + 3):
        settled = await settle(stand, ReceiverHeld("held"))
        assert settled.state is STORED
    assert await stand.rows("select attempts from webhook") == [(0,)]
    pauses = await stand.rows(
        "select extract(epoch from available_at - now())::int from outbox_job where job like 'plughost.%'"
    )
    assert sum(pause > QUARANTINE_SECONDS - 10 for (pause,) in pauses) == MAX_WEBHOOK_ATTEMPTS + 3, (
        "events that wait for a receiver fill the outbox"
    )
    assert (await settle(stand, Untranslatable("unheard of"))).state is PARKED
    assert await settle(stand, None) is None


async def test_only_what_is_parked_is_carried_out_again(stand: WebhookStand) -> None:
    await stand.post(event_id="it")
    done: list[str] = []

    async def do(_event: Any) -> None:
        done.append("it")

    assert await settle(stand, None, do, again=True) is None
    assert (await settle(stand, Untranslatable("unheard of"))).state is PARKED
    assert (await settle(stand, None, do, again=True)).state is DONE
    assert await settle(stand, None, do, again=True) is None
    assert done == ["it"]


async def test_an_event_that_no_statement_can_take_is_parked_and_seen(stand: WebhookStand) -> None:
    await stand.post(event_id="it")

    async def attempt() -> Any:
        async with stand.worker.transaction(AURORA) as session:

            async def do(_event: Any) -> None:
                await session.execute(text("select * from game where code = :code"), {"code": "nine\x00lanterns"})

            return await plughost.settle_webhook(session, AURORA, Translating(None), PLUGIN, "it", do)

    told = [await attempt() for _ in range(MAX_WEBHOOK_ATTEMPTS)]
    assert [each.state for each in told] == [STORED] * (MAX_WEBHOOK_ATTEMPTS - 1) + [PARKED]
    assert {each.reason for each in told} == {"DBAPIError"}
    assert await stand.rows("select count(*) from webhook_object") == [(0,)]
    async with stand.worker.transaction(AURORA) as session:
        assert await plughost.count_parked(session, AURORA) == {PLUGIN: 1}


async def test_an_effect_that_fails_half_way_leaves_nothing(stand: WebhookStand) -> None:
    await stand.post(event_id="it")

    async def half(_event: Any) -> None:
        async with stand.worker.transaction(AURORA):
            raise ReceiverUnavailable("in the middle")

    assert (await settle(stand, None, half)).state is STORED
    assert await stand.rows("select count(*) from webhook_object") == [(0,)]
    assert (await settle(stand, None)).state is DONE
    assert await stand.rows("select sequence from webhook_object") == [(1,)]


async def test_nobody_writes_a_webhook_of_another_tenant_or_changes_one(stand: WebhookStand) -> None:
    await stand.post(event_id="it")
    for database, statement in (
        (stand.app, "update webhook set state = 2"),
        (stand.app, "delete from webhook"),
        (stand.app, "select * from webhook_object"),
        (stand.worker, "update webhook set body = ''"),
        (stand.worker, "delete from webhook"),
        (stand.worker, "insert into webhook_object values (1, 'softswiss', 'x', 1)"),
    ):

        async def attempt(database: Any = database, statement: str = statement) -> None:
            async with database.transaction(JADE) as session:
                await session.execute(text(statement))

        with pytest.raises(DBAPIError):
            await attempt()
    assert await stand.rows("select count(*) from webhook", JADE) == [(0,)]
    assert await stand.events() == [("it", STORED, "")]
