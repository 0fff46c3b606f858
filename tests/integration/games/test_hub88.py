"""The Hub88 dialect through a real cell: launches and their tokens, bets, wins, rollbacks, and every way to be refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.integration.games.conftest import SECRETS, GamesUnderTest

from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.cli.simulate.calls import Holder
from pitboss.cli.simulate.hub88 import GAMES, Hub88, make
from pitboss.kernel.ids import new_uuid

GAME = "h88_lantern_bay"
SCALE = 1_000


class Aggregator:
    """Says what a round of one player is, in the words of the protocol."""

    def __init__(self, games: GamesUnderTest, holder: Holder) -> None:
        self.games = games
        self.holder = holder

    async def say(self, operation: str, *, signed_by: Hub88 | None = None, **fields: Any) -> dict[str, Any]:
        """Send fields with what belongs to every call; `...` leaves one out."""
        body: dict[str, Any] = {
            "request_uuid": str(new_uuid()),
            "token": self.holder.session,
            "user": self.holder.account,
            "game_code": self.holder.game,
            **fields,
        }
        raw = json.dumps({key: value for key, value in body.items() if value is not ...}).encode()
        return await self.send(operation, raw, (signed_by or self.games.vendor).sign(raw))

    async def send(self, operation: str, raw: bytes, signature: str) -> dict[str, Any]:
        answer = await self.games.client.post(
            f"/wallet/aurora/hub88/{operation}", content=raw, headers={"x-hub88-signature": signature}
        )
        assert answer.status_code == 200
        return answer.json()

    async def move(self, kind: str, uuid: str, amount_minor: int, **fields: Any) -> dict[str, Any]:
        given = {
            "transaction_uuid": uuid,
            "round": "r-1",
            "round_closed": False,
            "is_free": False,
            "currency": "EUR",
            "amount": amount_minor * SCALE,
            "supplier_user": "somebody",
        }
        reference = {"reference_transaction_uuid": "b-1"} if kind == "win" else {}
        return await self.say(kind, **{**given, **reference, **fields})

    async def take_back(self, uuid: str, original: str, **fields: Any) -> dict[str, Any]:
        given = {"transaction_uuid": uuid, "reference_transaction_uuid": original, "round": "r-1", "round_closed": True}
        return await self.say("rollback", **{**given, **fields})


@pytest.fixture
async def aggregator(hub88: GamesUnderTest) -> Aggregator:
    player = await hub88.enter(100_00)
    return Aggregator(hub88, await hub88.hold(player, GAME))


def is_(told: dict[str, Any], status: str, balance_minor: int | None = None) -> bool:
    assert told["status"] == f"RS_{status}", told
    assert told.get("balance") == (None if balance_minor is None else balance_minor * SCALE)
    return True


async def read(games: GamesUnderTest, statement: str, **values: Any) -> list[Any]:
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        return [tuple(row) for row in await session.execute(text(statement), values)]


async def test_the_catalogue_comes_from_a_signed_call(hub88: GamesUnderTest) -> None:
    listed = (await hub88.client.get("/api/v1/games")).json()["items"]
    assert {item["code"]: item["title"] for item in listed} == {code: game.title for code, game in GAMES.items()}
    assert {item["rtp_basis_points"] for item in listed} == {round(game.payout * 100) for game in GAMES.values()}


async def test_a_round_from_bet_to_win(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    assert is_(await aggregator.say("balance"), "OK", 100_00)
    placed = await aggregator.move("bet", "b-1", 2_50, request_uuid="u-1")
    assert placed == {
        "status": "RS_OK",
        "user": aggregator.holder.account,
        "request_uuid": "u-1",
        "currency": "EUR",
        "balance": 97_50 * SCALE,
    }
    assert is_(await aggregator.move("win", "w-1", 5_00, round_closed=True, jackpot_win=1_00 * SCALE), "OK", 102_50)
    assert is_(await aggregator.move("bet", "b-2", 1_00), "ERROR_WRONG_SYNTAX")  # the round is closed
    detail = await hub88.operate("GET", "/rounds/lookup?plugin=hub88&provider_round=r-1")
    part = detail.json()["parts"][0]
    assert (part["part"]["round"]["bet_minor"], part["part"]["round"]["win_minor"]) == (2_50, 5_00)
    assert part["part"]["round"]["state"] == "finished"
    assert await read(hub88, "select jackpot_minor, session_id::text from round") == [
        (1_00, aggregator.holder.session.split(".")[0])
    ]


async def test_repetitions_get_the_first_answer_and_move_nothing(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    first = await aggregator.move("bet", "b-1", 2_50, request_uuid="u-1")
    won = await aggregator.move("win", "w-1", 5_00, request_uuid="u-2")
    back = await aggregator.take_back("k-1", "b-1", request_uuid="u-3")
    for _ in range(3):
        assert await aggregator.move("bet", "b-1", 2_50, request_uuid="u-1") == first
        assert await aggregator.move("win", "w-1", 5_00, request_uuid="u-2") == won
        assert await aggregator.take_back("k-1", "b-1", request_uuid="u-3") == back
    assert is_(await aggregator.say("balance"), "OK", 105_00)
    assert await read(hub88, "select count(*) from journal where reference in ('b-1', 'w-1', 'k-1')") == [(3,)]


async def test_many_repetitions_at_once_move_money_once(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    answers = await asyncio.gather(*[aggregator.move("bet", "b-1", 2_50, request_uuid="u") for _ in range(20)])
    assert answers == answers[:1] * 20
    assert await read(hub88, "select count(*) from journal where reference = 'b-1'") == [(1,)]


async def test_one_id_for_two_things_is_a_duplicate(aggregator: Aggregator, hub88: GamesUnderTest) -> None:
    assert is_(await aggregator.move("bet", "b-1", 2_50), "OK", 97_50)
    assert is_(await aggregator.move("bet", "b-1", 2_51), "ERROR_DUPLICATE_TRANSACTION")
    assert is_(await aggregator.move("bet", "b-1", 2_50, round="r-2"), "ERROR_DUPLICATE_TRANSACTION")
    assert is_(await aggregator.move("win", "b-1", 2_50), "ERROR_DUPLICATE_TRANSACTION")
    other = Aggregator(hub88, await hub88.hold(await hub88.enter(), GAME))
    assert is_(await other.move("bet", "b-1", 2_50), "ERROR_DUPLICATE_TRANSACTION")
    assert is_(await other.take_back("k-1", "b-1"), "ERROR_DUPLICATE_TRANSACTION")
    assert is_(await aggregator.say("balance"), "OK", 97_50)


async def test_a_win_before_its_bet_is_taken_once_the_bet_is_there(aggregator: Aggregator) -> None:
    assert is_(await aggregator.move("win", "w-1", 5_00), "ERROR_TRANSACTION_DOES_NOT_EXIST")
    assert is_(await aggregator.move("bet", "b-1", 2_50), "OK", 97_50)
    assert is_(await aggregator.move("win", "w-1", 5_00), "OK", 102_50)


async def test_a_rollback_of_the_unseen_keeps_the_bet_out(aggregator: Aggregator) -> None:
    assert is_(await aggregator.take_back("k-1", "b-1"), "OK", 100_00)
    assert is_(await aggregator.move("bet", "b-1", 2_50), "ERROR_TRANSACTION_ROLLED_BACK")
    assert is_(await aggregator.move("bet", "b-1", 7_00), "ERROR_TRANSACTION_ROLLED_BACK")
    assert is_(await aggregator.say("balance"), "OK", 100_00)


async def test_a_rolled_back_bet_pays_nothing(aggregator: Aggregator) -> None:
    await aggregator.move("bet", "b-1", 2_50)
    assert is_(await aggregator.take_back("k-1", "b-1"), "OK", 100_00)
    assert is_(await aggregator.take_back("k-2", "b-1"), "OK", 100_00)
    assert is_(await aggregator.move("win", "w-1", 5_00), "ERROR_TRANSACTION_ROLLED_BACK")
    assert is_(await aggregator.take_back("k-3", "k-1"), "ERROR_TRANSACTION_ROLLED_BACK")


async def test_a_round_goes_on_when_one_of_its_bets_is_taken_back(aggregator: Aggregator) -> None:
    await aggregator.move("bet", "b-1", 1_00)
    await aggregator.move("bet", "b-2", 1_00)
    assert is_(await aggregator.take_back("k-1", "b-1", round_closed=False), "OK", 99_00)
    assert is_(await aggregator.move("win", "w-1", 3_00, reference_transaction_uuid="b-2"), "OK", 102_00)


async def test_too_little_money_tells_the_balance(aggregator: Aggregator) -> None:
    for _ in range(2):
        assert is_(await aggregator.move("bet", "b-1", 100_01), "ERROR_NOT_ENOUGH_MONEY", 100_00)
    assert is_(await aggregator.move("bet", "b-2", 9_223_372_036_854), "ERROR_NOT_ENOUGH_MONEY", 100_00)


@pytest.mark.parametrize("amount", [1, 999, 1_001, -1_000, 0, 2**63, 10**40, "1000", 1000.0, 1e30, True, None, ...])
async def test_what_is_no_amount_in_euro_moves_nothing(aggregator: Aggregator, amount: Any) -> None:
    assert (await aggregator.move("bet", "b-1", 0, amount=amount))["status"] in {
        "RS_ERROR_WRONG_SYNTAX",
        "RS_ERROR_WRONG_TYPES",
    }
    assert is_(await aggregator.say("balance"), "OK", 100_00)


async def test_free_bets_move_nothing_and_free_wins_are_paid(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    assert is_(await aggregator.move("bet", "b-1", 1_00, is_free=True, reward_uuid="x"), "OK", 100_00)
    assert is_(await aggregator.move("win", "w-1", 4_00, is_free=True, round_closed=True), "OK", 104_00)
    assert await read(hub88, "select mode, state, bet_real, win_minor from round") == [(4, 2, 0, 4_00)]


async def test_a_win_of_nothing_ends_the_round(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    await aggregator.move("bet", "b-1", 1_00)
    assert is_(await aggregator.move("win", "w-1", 0, round_closed=True), "OK", 99_00)
    assert await read(hub88, "select state from round") == [(2,)]


async def test_tokens_are_judged_for_bets_alone(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    await aggregator.move("bet", "b-1", 1_00)
    session, account, currency = aggregator.holder.session.split(".")
    stranger = f"{new_uuid()}.{account}.{currency}"
    other = await hub88.hold(await hub88.enter(), GAME)
    others = f"{other.session.split('.')[0]}.{account}.{currency}"
    for number, token in enumerate((stranger, others, f"no-uuid.{account}.{currency}")):
        assert is_(await aggregator.move("bet", f"x-{number}", 1_00, token=token), "ERROR_TOKEN_EXPIRED")
    assert is_(await aggregator.move("win", "w-1", 2_00, token=stranger), "OK", 101_00)
    assert is_(await aggregator.move("win", "w-2", 2_00, token="gone"), "OK", 103_00)
    assert is_(await aggregator.take_back("k-1", "w-2", token=stranger), "OK", 101_00)
    for token in ("gone", f"{session}.{new_uuid()}.{currency}", f"{session}.nobody.{currency}", ...):
        assert is_(await aggregator.say("balance", token=token, user=...), "ERROR_INVALID_TOKEN")
    assert is_(await aggregator.say("balance", user=str(new_uuid())), "ERROR_INVALID_TOKEN")
    assert is_(await aggregator.move("bet", "x-9", 1_00, currency="USD"), "ERROR_WRONG_CURRENCY")
    in_btc = await aggregator.say("balance", token=f"{session}.{account}.BTC")
    assert is_(in_btc, "ERROR_WRONG_CURRENCY")


async def test_info_tells_whether_there_is_such_a_player(aggregator: Aggregator) -> None:
    account = aggregator.holder.account
    found = await aggregator.say("info", request_uuid="u", token=..., game_code=...)
    assert found == {"status": "RS_OK", "user": account, "request_uuid": "u"}
    assert is_(await aggregator.say("info", user=str(new_uuid())), "ERROR_INVALID_TOKEN")


async def test_forged_calls_change_nothing(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    names = ["operator-private-key", "aggregator-public-key"]
    config = {"flavour": "hub88", "operator_id": "7"}
    config |= {"private_key": {"secret": names[0]}, "aggregator_public_key": {"secret": names[1]}}
    other_tenant = make(config, make_demo_secrets(names))
    assert is_(await aggregator.move("bet", "b-1", 1_00, signed_by=other_tenant), "ERROR_INVALID_SIGNATURE")
    ours = make(config, {**SECRETS, "aggregator-private-key": SECRETS["operator-private-key"]})
    assert is_(await aggregator.move("bet", "b-1", 1_00, signed_by=ours), "ERROR_INVALID_SIGNATURE")
    raw = b'{"request_uuid":"u"}'
    good = hub88.vendor.sign(raw)
    for body, signature in ((raw + b" ", good), (raw, good[:-4]), (raw, ""), (raw, good.lower())):
        assert await aggregator.send("bet", body, signature) == {"status": "RS_ERROR_INVALID_SIGNATURE"}
    assert is_(await aggregator.say("balance"), "OK", 100_00)


async def test_strangers_and_unknown_operations_are_answered_in_the_dialect(hub88: GamesUnderTest) -> None:
    body = b"{}"
    headers = {"x-hub88-signature": hub88.vendor.sign(body)}
    nobody = await hub88.client.post("/wallet/nobody/hub88/bet", content=body, headers=headers)
    assert (nobody.status_code, nobody.json()) == (200, {"status": "RS_ERROR_INVALID_PARTNER"})
    unknown = await hub88.client.post("/wallet/aurora/hub88/check", content=body, headers=headers)
    assert (unknown.status_code, unknown.json()) == (200, {"status": "RS_ERROR_WRONG_SYNTAX"})
    large = await hub88.client.post("/wallet/aurora/hub88/bet", content=b" " * 70_000, headers=headers)
    assert (large.status_code, large.json()) == (200, {"status": "RS_ERROR_WRONG_SYNTAX"})


async def test_a_blocked_player_bets_no_more_and_is_still_paid(hub88: GamesUnderTest, aggregator: Aggregator) -> None:
    await aggregator.move("bet", "b-1", 1_00)
    path = f"/players/{aggregator.holder.account}"
    answer = await hub88.operate("PATCH", path, json={"status": "suspended", "reason": "operator_review"})
    assert answer.status_code == 200, answer.text
    assert is_(await aggregator.move("bet", "b-2", 1_00), "ERROR_USER_DISABLED")
    assert is_(await aggregator.move("win", "w-1", 2_00), "OK", 101_00)


async def test_a_launch_that_the_aggregator_refuses_says_so(hub88: GamesUnderTest) -> None:
    player = await hub88.enter(0)
    del hub88.vendor.games[GAME]  # since the last sync
    answer = await hub88.launch(player, GAME)
    assert (answer.status_code, answer.json()["code"]) == (409, "games.launch_refused")


async def test_the_token_tells_the_aggregator_nothing_but_ids(aggregator: Aggregator) -> None:
    session, account, currency = aggregator.holder.session.split(".")
    assert (account, currency) == (aggregator.holder.account, "EUR")
    assert len(msgspec.json.encode([session, account])) == len('["","",]') + 71
