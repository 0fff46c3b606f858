"""Ten thousand signed callbacks, repeated, out of order and forged, on a real web process: each has its effect once.

Two aggregators speak at once, each in its dialect, about the same wallets.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.figures import write_figures
from tests.factories.money import House, Seat, running
from tests.factories.players import open_cell
from tests.factories.ports import free_port
from tests.factories.tenants import (
    copy_tenants,
    environment_of,
    open_deployment,
    run_apply,
    tenant_settings,
    write_plugin_secrets,
)
from tests.integration.games.hostile import Call, Round, Sender, Writer
from tests.integration.games.speech import Hub88, Softswiss, Speech, Told

from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.games import service as games
from pitboss.games.contracts import RoundMode, RoundState
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op, WalletStatus
from pitboss.platform.processes import spawn, stop_group, tail
from pitboss.platform.settings import Settings
from pitboss.wallet.runtime import Lane
from pitboss_sdk.money import minor_from_decimal

CALLS = int(os.environ.get("CALLBACK_CALLS", "10000"))
SEED = int(os.environ.get("CALLBACK_SEED", "7"))
WIDTH = 24
RICH_MINOR, POOR_MINOR = 10_000_000, 2_500


@asynccontextmanager
async def web_process(settings: Settings, folder: Path) -> AsyncIterator[str]:
    """Run the cell's web as a deployment does and yield its address once Aurora's callbacks are answered."""
    port = free_port()
    settings = msgspec.structs.replace(settings, plane="cell", port=port, lanes=2, log_level="warning")
    command = Path(sys.executable).with_name("pitboss")
    log = folder / "web.log"
    server = spawn([str(command), "web", "cell"], log=log, env=environment_of(settings))
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=address) as client:
            for _ in range(600):
                try:
                    answer = await client.post("/wallet/aurora/softswiss/balance", content=b"{}")
                    if '"403"' in answer.text:
                        break
                except httpx.TransportError:
                    pass
                assert server.poll() is None, tail(log)
                await asyncio.sleep(0.2)
            else:
                raise AssertionError(f"the web did not become ready: {tail(log)}")
        yield address
    finally:
        await asyncio.to_thread(stop_group, server, signal.SIGTERM, 20)


async def furnish(house: House) -> tuple[list[Seat], list[Seat], list[Seat]]:
    """Return rich, poor and blocked players."""
    await house.open()
    await house.add_games("hub88")
    rich, poor, blocked = [await house.add_players(count, licence="mt_mga") for count in (60, 6, 4)]
    lane = Lane(house.make_poster(9))
    async with running(lane):
        for seats, amount in ((rich, RICH_MINOR), (poor, POOR_MINOR), (blocked, RICH_MINOR)):
            deposits = [house.request(seat, Op.DEPOSIT, f"deposit-{seat.wallet_id}", amount) for seat in seats]
            assert all(not result.refusal for result in await asyncio.gather(*map(lane.submit, deposits)))
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        for seat in blocked:
            await ledger.set_wallet_status(session, house.scope, seat.player_id, WalletStatus.BLOCKED)
    return rich, poor, blocked


async def play(sender: Sender, rounds: list[Round], rng: Random, total: int) -> None:
    """Send everything: first the rounds with their duplicates, forgeries and noise, then the replays."""

    async def play_round(round_: Round) -> None:
        sends: list[Coroutine[Any, Any, Any]] = []
        for call in round_.calls:
            copies = 1 + extra.get(call, 0)
            if round_.in_order:
                await asyncio.gather(*[sender.send(call) for _ in range(copies)])
            else:
                sends += [sender.send(call) for _ in range(copies)]
        rng.shuffle(sends)
        await asyncio.gather(*sends)

    calls = [call for round_ in rounds for call in round_.calls]
    extra: dict[Call, int] = {}
    for call in rng.choices(calls, k=total * 20 // 100):
        extra[call] = extra.get(call, 0) + 1
    work: list[Coroutine[Any, Any, Any]] = [play_round(round_) for round_ in rounds]
    work += [sender.forge(call) for call in rng.choices(calls, k=total * 5 // 100)]
    work += [sender.babble(kind) for kind in range(total // 100)]
    rng.shuffle(work)
    await asyncio.gather(*work)
    await asyncio.gather(*[sender.send(call) for call in rng.choices(calls, k=total * 10 // 100)])


def one_answer(told: Iterable[Told]) -> bool:
    """Say whether all repetitions were answered the same; codes that are not remembered tell today's balance."""
    return len({(answer.code, answer.ids, answer.balance) for answer in told}) == 1


def list_acknowledged(sender: Sender, round_: Round) -> dict[Call, tuple[tuple[str, str], ...]]:
    """Return what each call was told to have booked: references with our ids, `?` where a dialect tells none.

    A rollback that was told as done booked something if what it names was booked and is not yet taken back.
    """
    found: dict[Call, tuple[tuple[str, str], ...]] = {}
    bets = [call for call in round_.calls if not set(call.refs) & round_.reverses.keys()]
    for call in sorted(round_.calls, key=lambda call: call not in bets):  # what a rollback names comes first
        told = sender.told.get(call, [Told("never", None, ())])[0]
        if told.ids is not None:
            found[call] = told.ids
            continue
        done = {ref for ids in found.values() for ref, transaction in ids if transaction}
        taken_back = {round_.reverses[ref] for ref in done & round_.reverses.keys()}
        names = [(ref, round_.reverses.get(ref)) for ref in call.refs]
        found[call] = tuple(
            (ref, "?" if name is None or (name in done and name not in taken_back) else "") for ref, name in names
        )
    return found


async def differences(house: House, played: Sequence[tuple[Sender, list[Round]]]) -> list[str]:
    """Compare journal and wallets with what was told, each call counted once."""
    found: list[str] = []
    rows = await house.administer(_JOURNAL, house.scope.tenant_id)
    journal = {row["reference"]: row for row in rows}
    if len(journal) != len(rows):
        found.append("a reference is booked twice")
    expected: dict[str, tuple[int, str]] = {}
    for sender, round_ in [(sender, round_) for sender, rounds in played for round_ in rounds]:
        acknowledged = list_acknowledged(sender, round_)
        for call in round_.calls:
            told = sender.told.get(call, [])
            if not told or (call.refs and not one_answer(told)):
                found.append(f"{call} has {len(set(told))} answers: {told}")
                continue
            ids = acknowledged[call]
            for ref, transaction in ids:
                if transaction:
                    expected[ref] = (_amount(round_, call, ref), transaction)
            if ids and all(transaction for _, transaction in ids):
                last = journal.get(ids[-1][0])
                if last is None or minor_from_decimal(told[0].balance or "", 2) != last["after"]:
                    found.append(f"{call} was told {told[0]}, the journal says {last}")
    balances: dict[int, int] = {}
    for ref, row in journal.items():
        balances[row["wallet_id"]] = balances.get(row["wallet_id"], 0) + row["moved"]
        if ref.startswith("deposit"):
            continue
        wanted = expected.pop(ref, None)
        booked = (row["moved"], f"{row['wallet_id']}-{row['version']}")
        if wanted is None or wanted not in {booked, (row["moved"], "?")}:
            found.append(f"{ref} is booked as {dict(row)}, and was answered as {wanted}")
    found += [f"{ref} was acknowledged as {wanted} and is not booked" for ref, wanted in expected.items()]
    for row in await house.administer(_WALLETS, house.scope.tenant_id):
        if balances.get(row[0], 0) != row[1]:
            found.append(f"wallet {row[0]} has {row[1]}, its calls make {balances.get(row[0], 0)}")
    found += [f"round {row[0]} disagrees with its bookings" for row in await house.administer(_ROUNDS)]
    found += [f"{f.check}: {f.subject} {f.detail}" for f in (await house.verify()).findings]
    return found


def _amount(round_: Round, call: Call, ref: str) -> int:
    if ref in round_.reverses:
        return -round_.amounts[round_.reverses[ref]]
    return round_.amounts[ref] if call.amount_minor is None else call.amount_minor


_JOURNAL = """
select reference, wallet_id, version, d_real + d_bonus - d_debt as moved, real_after + bonus_after as after
from journal where tenant_id = $1 and op <> 12 -- a change of terms moves nothing and has no name
"""
_WALLETS = "select wallet_id, real_minor + bonus_minor + held_minor - debt_minor from wallet where tenant_id = $1"
_ROUNDS = """
select coalesce(r.round_id, j.round_id) from round r
full join (
    select tenant_id, round_id, wallet_id, min(version) as first_version, max(version) as last_version,
        -sum(d_real) filter (where op in (1, 3)) as bet_real, -sum(d_bonus) filter (where op in (1, 3)) as bet_bonus,
        coalesce(sum(d_real + d_bonus - d_debt) filter (where op in (2, 4)), 0) as win_minor,
        count(*) filter (where op = 1) - count(*) filter (where op = 3) as bets
    from journal where round_id is not null group by 1, 2, 3
) j using (tenant_id, round_id, wallet_id)
where (r.first_version, r.last_version, r.bet_real, r.bet_bonus, r.win_minor, r.bets)
    is distinct from (j.first_version, j.last_version, j.bet_real, j.bet_bonus, j.win_minor, j.bets)
"""


async def look_up(house: House, sender: Sender, round_: Round) -> None:
    """Find a round by the provider's id and hold everything that belongs to it against what was told."""
    booked = {ref for ids in list_acknowledged(sender, round_).values() for ref, number in ids if number}
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        (found,) = await games.get_provider_round(session, house.scope, round_.plugin, round_.name)
        assert (await games.get_round(session, house.scope, found.summary.round)) == [found]
    summary, bookings = found.summary, found.bookings
    assert {booking.reference for booking in bookings} == booked
    assert (summary.provider_round, summary.wallet_id) == (round_.name, round_.seat.wallet_id)
    assert (summary.plugin, summary.game, summary.game_version_hash) == (round_.plugin, "dice", "v1")
    assert (summary.mode, summary.currency, str(summary.session)) == (RoundMode.CASH, "EUR", round_.seat.session)
    assert summary.bet_minor - summary.win_minor == -sum(row.d_real + row.d_bonus - row.d_debt for row in bookings)
    assert summary.balance_before_minor == bookings[0].after.playable_minor - bookings[0].d_real
    assert summary.balance_after_minor == bookings[-1].after.playable_minor
    assert summary.started_at.utcoffset() is not None
    assert summary.started_at == bookings[0].created_at
    assert summary.updated_at >= bookings[-1].created_at
    live = {ref for ref in booked if ref.startswith("bet")} - {
        round_.reverses[r] for r in booked if r in round_.reverses
    }
    finished = any(call.finishes for call in round_.calls)
    state = RoundState.VOIDED if not live else RoundState.FINISHED if finished else RoundState.OPEN
    assert summary.state is state


@pytest.mark.timeout(900)
async def test_every_call_has_its_effect_once(
    control_database: PlaneDatabase, cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> None:
    tenants_dir = copy_tenants(tmp_path)
    secrets_file = tmp_path / "secrets.toml"
    values = write_plugin_secrets(secrets_file, tenants_dir)
    settings = msgspec.structs.replace(
        tenant_settings(control_database, cell_database, tenants_dir), redis_url=redis_url, secrets_file=secrets_file
    )
    deployment = open_deployment(settings)
    await run_apply(deployment)
    await deployment.close()
    house, rng = House(cell_database), Random(SEED)
    seats = await furnish(house)
    speeches: list[Speech] = [
        Softswiss(values["demo-softswiss-api-secret"]),
        Hub88(
            values["demo-hub88-aggregator-private-key"], make_demo_secrets(["other-private-key"])["other-private-key"]
        ),
    ]
    total = CALLS // len(speeches)
    played: list[tuple[Sender, list[Round]]] = []
    async with web_process(settings, tmp_path) as address:
        limits = httpx.Limits(max_connections=WIDTH)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=30) as client:
            for speech in speeches:
                rounds = Writer(speech, rng, *seats).rounds(total * 64 // 100)
                played.append((Sender(speech, client, rng, WIDTH // len(speeches)), rounds))
            await asyncio.gather(*[play(sender, rounds, rng, total) for sender, rounds in played])
            metrics = (await client.get("/metrics")).text
    found = await differences(house, played)
    senders = [sender for sender, _ in played]
    unplanned = [text for sender in senders for text in sender.unplanned]
    wrong = [text for sender in senders for text in sender.wrong]
    figures = {
        "calls": sum(sender.calls for sender in senders),
        "unplanned_500": len(unplanned),
        "model_differences": len(found) + len(wrong),
        "planned_500": sum(sender.statuses["500"] for sender in senders),
        "silences": sum(sender.silences for sender in senders),
        "rounds": sum(len(rounds) for _, rounds in played),
    }
    write_figures("callbacks", figures)
    print(figures, *unplanned[:5], *wrong[:5], *found[:5], sep="\n")
    assert [sender.calls for sender in senders] == [total] * len(speeches)
    assert not unplanned
    assert not wrong
    assert not found
    for speech in speeches:
        assert f'plugin="{speech.plugin}"' in metrics
    for sender, rounds in played:
        booked = [
            r for r in rounds if any(number for ids in list_acknowledged(sender, r).values() for _, number in ids)
        ]
        for round_ in rng.sample(booked, min(60, len(booked))):
            await look_up(house, sender, round_)
    await see_damage(house, played)


async def see_damage(house: House, played: Sequence[tuple[Sender, list[Round]]]) -> None:
    """Damage the books past all guards, once for each kind of difference, and see each found."""
    house.admin = await asyncpg.connect(house.database.admin_url)
    try:
        await house.administer("set session_replication_role = replica")
        for damage, words in _DAMAGE.items():
            before = set(await differences(house, played))
            await house.administer(damage)
            assert any(words in found for found in set(await differences(house, played)) - before), damage
    finally:
        await house.admin.close()


_ONE_BET = "(select wallet_id, version from journal where op = 1 order by 1, 2 limit 1)"
_DAMAGE = {
    "update round set win_minor = win_minor + 1 where round_id = (select round_id from round limit 1)": "disagrees",
    "update wallet set real_minor = real_minor + 1 where wallet_id = (select min(wallet_id) from wallet)": "its calls make",
    f"update journal set d_real = d_real - 1 where (wallet_id, version) = {_ONE_BET}": "was answered as",
    f"update journal set reference = 'nobody asked' where (wallet_id, version) = {_ONE_BET}": "nobody asked",
    f"delete from journal where (wallet_id, version) = {_ONE_BET.replace('1, 2', '1 desc, 2')}": "is not booked",
}
