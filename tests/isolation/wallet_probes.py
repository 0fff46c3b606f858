"""Wallet calls that tenant A's aggregator signs and in which something of tenant B's is named."""

from __future__ import annotations

import json
from typing import Any

import httpx
from tests.isolation.http_probes import FOREIGN, MISSING, HttpProber, as_json, view
from tests.isolation.world import PLUGIN

OPERATIONS = ("balance", "betwin", "rollback", "finish")


def _bodies(prober: HttpProber, names: dict[str, str], number: int) -> dict[str, dict[str, Any]]:
    """Return a body for each operation with A's ids, some of them replaced."""
    ids = {**prober.world.a.ids, **names}
    base = {
        "account_id": ids["player_id"],
        "currency": "EUR",
        "game_id": ids["code"],
        "session_id": ids["game_session"],
    }
    bet = names.get("bet_made", f"bet-{number}")
    reversal = {
        "id_provider": f"back-{number}",
        "type": "rollback",
        "original_id_provider": names.get("bet", f"late-{number}"),
    }
    return {
        "balance": base,
        "betwin": {
            **base,
            "round_id": names.get("provider_round", f"round-{number}"),
            "transactions": [{"id_provider": bet, "type": "bet", "amount": "0.01"}],
        },
        "win": {
            **base,
            "round_id": names.get("provider_round", f"round-{number}"),
            "transactions": [{"id_provider": f"win-{number}", "type": "win", "amount": "0.01"}],
        },
        "rollback": {**base, "round_id_provider": ids["provider_round"], "transactions": [reversal]},
        "finish": {**base, "round_id": ids["provider_round"]},
    }


async def probe_wallet(prober: HttpProber) -> None:
    """Name B's players, sessions, games, rounds and bookings under A's signature; the twin names nobody's."""
    world = prober.world
    abroad = world.b.scope.cell != world.a.scope.cell
    number = 0
    async with world.web.client(world.a.host) as client:
        # "bet_made" is B's reference as that of A's own bet, "bet" the booking that a rollback names.
        for name in ("player_id", "game_session", "code", "provider_round", "bet_made", "bet"):
            source = "bet" if name == "bet_made" else name
            theirs, nobodys = world.b.ids[source], MISSING[source]
            for operation in ("balance", "betwin", "win", "rollback", "finish"):
                answers: list[httpx.Response] = []
                for value in (theirs, nobodys):
                    number += 1
                    body = _bodies(prober, {name: value}, number)[operation]
                    path = f"{world.a.scope.slug}/{PLUGIN}/{'betwin' if operation == 'win' else operation}"
                    answers.append(await world.call_wallet(client, path, world.a, body))
                mine, other = view(answers[0], theirs), view(answers[1], nobodys)
                wrong = "" if mine == other else f"{mine} where nothing is there: {other}"
                # Ids of rounds are derived from the maker's number and the name that was typed; cells count apart.
                derived = (world.b.ids["round_id"],) if name == "provider_round" and abroad else ()
                _judge(prober, f"wallet {operation} with {name}", answers[0], (theirs, *derived), wrong)


async def probe_signatures(prober: HttpProber) -> None:
    """Call B's address with B's own values under another signature than B's: refused before any work."""
    world = prober.world
    b = world.b
    signed_by = {"A": world.a, "nobody": None}
    async with b.client() as client:
        for who, side in signed_by.items():
            for operation in OPERATIONS:
                body = {**b.movement("bet", f"stolen-{who}"), "round_id_provider": b.ids["provider_round"]}
                if operation == "rollback":
                    back = {"id_provider": "stolen", "type": "rollback", "original_id_provider": b.ids["bet"]}
                    body["transactions"] = [back]
                raw = json.dumps(body).encode()
                headers = {"x-request-sign": "0" * 64} if side is None else side.sign(raw)
                for slug in (
                    b.scope.slug,
                    f"{b.scope.slug}/../{world.a.scope.slug}",
                    f"{world.a.scope.slug}%2f..%2f{b.scope.slug}",
                ):
                    answer = await client.post(f"/wallet/{slug}/{PLUGIN}/{operation}", content=raw, headers=headers)
                    foreign = slug != b.scope.slug
                    known = {400, 404} if b.scope.cell == world.a.scope.cell or not foreign else {400, 404, 421}
                    refused = answer.status_code in known and (foreign or as_json(answer)["meta"]["api_code"] == "403")
                    _judge(
                        prober, f"wallet {slug} {operation} signed by {who}", answer, (), "" if refused else answer.text
                    )


async def probe_foreign_address(prober: HttpProber) -> None:
    """Call B's address in A's cell, even with B's own signature: it tells where B is and nothing else."""
    world = prober.world
    if world.b.scope.cell == world.a.scope.cell:
        return
    async with world.web.client(world.a.host) as client:
        for signer in (world.a, world.b):
            for operation in OPERATIONS:
                body = world.b.movement("bet", f"abroad-{signer.scope.slug}-{operation}")
                path = f"{world.b.scope.slug}/{PLUGIN}/{operation}"
                answer = await world.call_wallet(client, path, signer, body)
                expected = answer.status_code == 421 and as_json(answer)["detail"] == FOREIGN.replace(
                    "domain", "tenant"
                )
                what = f"wallet of B in A's cell {operation} signed by {signer.scope.slug}"
                _judge(prober, what, answer, (), "" if expected else f"{answer.status_code} {answer.text[:200]}")


def _judge(prober: HttpProber, what: str, answer: httpx.Response, typed: tuple[str, ...], wrong: str) -> None:
    # A win before its bet is answered "come again" with a 500: that is the dialect, not a failure.
    again = answer.status_code == 500 and as_json(answer)["meta"]["api_code"] == "500"
    shown = [mark for mark in prober.world.b.marks if mark in answer.text and mark not in typed]
    if shown:
        wrong = f"the answer holds {shown[0]}: {answer.text[:200]}"
    elif answer.status_code >= 500 and not again:
        wrong = f"answered {answer.status_code}: {answer.text[:200]}"
    prober.report.count(what, wrong)
