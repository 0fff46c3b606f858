"""The seeded simulator: real lanes and real decisions over a ledger that breaks, and clients that do not give up.

Everything follows from the seed: who asks for what, when, how often, and what goes wrong. Afterwards the
history is held against the promises: conservation, no negative bucket, projection equal to journal, holds and
awards that add up, one answer a key, a refusal that changes nothing, and the model's answer for every commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from tests.property.asks import make_request, read_answer
from tests.property.memory_ledger import TENANT, MemoryLedger
from tests.property.memory_store import Faults, MemoryStore, witness
from tests.property.model import STICKY, Answer, Ask, Model, Purse, Step
from tests.property.script import GAMES, OFF, SOURCE, Script, sessions_of
from tests.property.virtual_time import VirtualLoop

from pitboss.games import runtime as games_runtime
from pitboss.games.rules import compute_round_id
from pitboss.ledger.contracts import Op, Outcome
from pitboss.ledger.rules import compute_key
from pitboss.limits.contracts import LimitKind
from pitboss.policy.contracts import LicenceKey, PlayLaw, SpendOrder
from pitboss.wallet.contracts import Companion, WalletRequest
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.rules import BatchWalk
from pitboss.wallet.runtime import lanes as lanes_module
from pitboss.wallet.runtime import poster as poster_module

ACCOUNT = 11
TERM_US = 1_000
"""How long most awards last."""
PATIENCE_ATTEMPTS = 60
WEATHER = (
    Faults(),
    Faults(slow=40),
    Faults(drop_before=15, drop_after=15, slow=20),
    Faults(drop_after=45, slow=10),
    Faults(deadlock=30, drop_before=5, drop_after=5, slow=30),
)


def execute(module: ModuleType, old: str = "", new: str = "") -> dict[str, Any]:
    """Return the names of a module whose source was run once more, with one place of it changed."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    assert not old or source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module.__name__}"
    names: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(old, new) if old else source, module.__file__, "exec"), names)  # noqa: S102
    return names


class Parts:
    """What is simulated; a mutant replaces one of them.

    The modules of lanes and rounds run in copies of their own: the walk has a witness, and memory is as short as a
    seed wants.
    """

    def __init__(
        self,
        *,
        walk: Callable[[Any], Any] = BatchWalk,
        lanes: dict[str, Any] | None = None,
        poster: dict[str, Any] | None = None,
        rounds: dict[str, Any] | None = None,
    ) -> None:
        self._lanes = execute(lanes_module) if lanes is None else lanes
        self._poster = execute(poster_module) if poster is None else poster
        self._poster["BatchWalk"] = witness(walk)
        self._rounds = execute(games_runtime) if rounds is None else rounds
        self.walk = walk
        self.companion: Companion = self._rounds["Rounds"]()

    def make_lane(
        self, number: int, store: MemoryStore, laws: dict[LicenceKey, PlayLaw] | None, remembered: int
    ) -> Any:
        self._poster["REMEMBERED"] = remembered
        self._poster["epoch_microseconds"] = store.read_clock
        poster = self._poster["DatabasePoster"](number, store, laws=laws)
        forget = poster.forget

        def forget_both(decision: Any) -> None:
            store.forget()
            forget(decision)

        poster.forget = forget_both
        return self._lanes["Lane"](poster)

    def set_up(self, *, ahead: int, wary_batches: int, remembered_rounds: int) -> None:
        """Choose what all lanes of a seed have in common."""
        self._lanes["AHEAD"] = ahead
        self._poster["WARY_BATCHES"] = wary_batches
        self._rounds["REMEMBERED"] = remembered_rounds


PARTS = Parts()


@dataclass
class Run:
    """One seed: the world, what clients were told, and what was found wrong."""

    seed: int
    parts: Parts
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    model: Model = field(default_factory=Model)
    told: dict[Ask, list[Answer]] = field(default_factory=dict[Ask, list[Answer]])
    given_up: list[Ask] = field(default_factory=list[Ask])
    asks: dict[int, Ask] = field(default_factory=dict[int, Ask])
    kept: list[WalletRequest] = field(default_factory=list[WalletRequest])

    def request(self, ask: Ask) -> WalletRequest:
        request = make_request(
            ask,
            tenant_id=TENANT,
            account_id=ACCOUNT,
            wallet_id=ask.wallet,
            source_id=ask.source,
            player_id=ask.wallet,
            companion=self.parts.companion,
        )
        self.asks[id(request)] = ask
        self.kept.append(request)
        return request


def simulate(seed: int, parts: Parts = PARTS) -> list[str]:
    """Run one seed and return what is wrong, in words."""
    rng, run, loop = Random(seed), Run(seed, parts), VirtualLoop()
    try:
        loop.run_until_complete(_play(run, rng))
        return list(judge(run))
    except Exception as error:  # noqa: BLE001 - a run that cannot end, or not be judged, is a finding like others
        return [f"{type(error).__name__}: {error}"]
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def _furnish(run: Run, rng: Random, wallets: int) -> dict[LicenceKey, PlayLaw]:
    bonus_first = rng.random() < 0.4
    run.model.games = {*GAMES}
    run.ledger.games = dict.fromkeys(GAMES, (True, 1)) | {OFF: (False, 1)}
    ledger = run.ledger
    for wallet in range(1, wallets + 1):
        ledger.wallets[wallet] = [0, 0, 0, 0, 0]
        purse = run.model.purses[wallet] = Purse(bonus_first=bonus_first)
        if rng.random() < 0.15:
            ledger.blocked.add(wallet)
            purse.active = False
        for kind in rng.sample(list(LimitKind), rng.choice((0, 0, 0, 1, 2))):
            amount = rng.choice((50, 200, 1000))
            ledger.limits.setdefault(wallet, {})[kind] = amount
            ledger.limited.add(wallet)
            purse.limits[kind.name.lower()] = amount
        for session in sessions_of(wallet):
            ledger.sessions[session] = run.model.sessions[session] = wallet
    return {(TENANT, ""): PlayLaw("UTC", SpendOrder.BONUS_FIRST if bonus_first else SpendOrder.REAL_FIRST)}


async def _play(run: Run, rng: Random) -> None:
    wallets, faults, parts = rng.randrange(1, 5), rng.choice(WEATHER), run.parts
    laws = _furnish(run, rng, wallets)
    stores = [MemoryStore(run.ledger, rng, faults) for _ in range(rng.randrange(1, 4))]
    parts.set_up(
        ahead=rng.choice((1, 1, 3, 24)), wary_batches=rng.choice((1, 2, 32)), remembered_rounds=rng.choice((1, 3, 1000))
    )
    lanes = [parts.make_lane(number, store, laws, rng.choice((1, 3, 1000))) for number, store in enumerate(stores)]
    tasks = [asyncio.create_task(store.run(lane)) for store, lane in zip(stores, lanes, strict=True)]
    script = Script(rng, wallets)
    seeded = [script.ask(wallet, Step("deposit", script.ref("deposit"), 1000)) for wallet in run.ledger.wallets]
    seeded += [script.ask(w, Step("award", script.ref("award"), 100)) for w in run.ledger.wallets if rng.random() < 0.5]
    lines = [[ask] for ask in seeded] + script.lines(rng.randrange(6, 14))
    _choose_terms(run, rng, lines)
    operators = [_change_terms(run, rng, wallets) for _ in range(rng.choice((0, 1, 2)))]
    await asyncio.gather(*[_client(run, rng, lanes, line, stores) for line in lines], *operators)
    everything = [ask for line in lines for ask in line]
    again = rng.sample(everything, min(len(everything), 6))
    await asyncio.gather(*[_send(run, rng, lanes, ask, stores) for ask in again])
    for lane in lanes:
        lane.close()
    await asyncio.gather(*tasks)


def _choose_terms(run: Run, rng: Random, lines: list[list[Ask]]) -> None:
    """Write down terms of most awards before anybody asks for them to be booked, as an order does."""
    run.model.now_us = run.ledger.now_us
    awards = [(ask.wallet, step) for line in lines for ask in line for step in ask.steps if step.op == "award"]
    for wallet, step in awards:
        if rng.random() < 0.8:
            required = max(1, step.amount * rng.choice((1, 1, 2, 5)) // rng.choice((1, 2, 10)))
            terms = (required, run.ledger.now_us + rng.choice((TERM_US, TERM_US, 2 * TERM_US, 100 * TERM_US)))
            run.ledger.terms[TENANT, wallet, step.ref] = run.model.terms[wallet, step.ref] = terms


async def _change_terms(run: Run, rng: Random, wallets: int) -> None:
    """Block and unblock wallets, set and remove limits, fail sessions, all behind the lanes' backs."""
    for _ in range(rng.randrange(1, 6)):
        await asyncio.sleep(rng.randrange(1, 60) / 1000)
        wallet, what = rng.randrange(1, wallets + 1), rng.randrange(9)
        if what == 0:
            run.ledger.fail_session(rng.choice(sessions_of(wallet)))
        elif what == 1:
            run.ledger.set_limit(wallet, rng.choice(list(LimitKind)), rng.choice((None, None, 0, 50, 300, 2000)))
        elif what == 2:
            run.ledger.set_excluded(wallet, excluded=rng.random() < 0.4)
        elif what == 3:
            run.ledger.switch_off(rng.choice(GAMES))
        elif what == 4:
            run.ledger.pass_time(rng.choice((1, TERM_US - 1, TERM_US)))
        elif what == 5:
            mine = [name[2] for name in run.ledger.terms if name[1] == wallet]
            if mine:
                run.ledger.end_award(wallet, rng.choice(mine))
        else:
            run.ledger.set_blocked(wallet, blocked=rng.random() < 0.4)


async def _client(run: Run, rng: Random, lanes: list[Any], line: list[Ask], stores: list[MemoryStore]) -> None:
    await asyncio.sleep(rng.randrange(40) / 1000)
    for ask in line:
        copies = rng.choice((1, 1, 1, 2, 3))
        await asyncio.gather(*[_send(run, rng, lanes, ask, stores) for _ in range(copies)])


async def _send(run: Run, rng: Random, lanes: list[Any], ask: Ask, stores: list[MemoryStore]) -> None:
    for attempt in range(PATIENCE_ATTEMPTS):
        if attempt == PATIENCE_ATTEMPTS // 2:
            for store in stores:
                store.calm = True
        lane = rng.choice(lanes)
        try:
            result = await lane.submit(run.request(ask))
        except LanesBusy:
            if ask.steps and ask.steps[0].ref.startswith("poison") and attempt > 2:
                run.given_up.append(ask)
                return
            await asyncio.sleep(rng.randrange(20, 200) / 1000)
            continue
        run.told.setdefault(ask, []).append(read_answer(result))
        return
    run.given_up.append(ask)


def judge(run: Run) -> Iterator[str]:
    """Yield everything that is wrong at the end of a run."""
    yield from _judge_money(run.ledger)
    yield from _judge_answers(run)
    yield from _judge_history(run)
    yield from _judge_rounds(run)


def _judge_money(ledger: MemoryLedger) -> Iterator[str]:
    players = sum(real + bonus + held - debt for _, real, bonus, held, debt in ledger.wallets.values())
    if players + sum(ledger.house.values()):
        yield f"money is not conserved: players {players}, house {sum(ledger.house.values())}"
    for wallet, (version, *buckets) in ledger.wallets.items():
        rows = [ledger.journal.get((wallet, number)) for number in range(1, version + 1)]
        if None in rows or (wallet, version + 1) in ledger.journal:
            yield f"wallet {wallet}: the chain of versions has a gap"
            continue
        sums = [0, 0, 0, 0]
        for row in rows:
            assert row is not None
            sums = [total + delta for total, delta in zip(sums, row[6:10], strict=True)]
            if sums != list(row[10:14]):
                yield f"wallet {wallet}: row {row[2]} does not continue the one before it"
            if min(sums) < 0:
                yield f"wallet {wallet}: a bucket is negative after row {row[2]}"
        if sums != buckets:
            yield f"wallet {wallet}: {buckets}, but its journal says {sums}"
        pair = (TENANT, wallet)
        held = sum(h.amount_minor - h.captured - h.released for name, h in ledger.holds.items() if name[:2] == pair)
        if held != buckets[2]:
            yield f"wallet {wallet}: held {buckets[2]}, open holds {held}"
        left = [award[0] for name, award in ledger.awards.items() if name[:2] == pair]
        if sum(left) != buckets[1] or min(left, default=0) < 0:
            yield f"wallet {wallet}: bonus {buckets[1]}, awards {left}"


def _judge_answers(run: Run) -> Iterator[str]:
    booked: dict[str, list[tuple[Any, ...]]] = {}
    backs: dict[tuple[int, int], int] = {}
    for row in run.ledger.journal.values():
        if row[3] == Op.TERMS or "/" in row[15]:
            continue  # what nobody asked for; the model knows when it happens
        booked.setdefault(row[15], []).append(row)
        if row[16] is not None:
            backs[row[1], row[16]] = backs.get((row[1], row[16]), 0) + 1
            original = run.ledger.journal[row[1], row[16]]
            if sum(row[6:9]) - row[9] != -(sum(original[6:9]) - original[9]):
                yield f"{row[15]} is not the negation of {original[15]}"
            if original[3] == Op.BET and row[6:10] != tuple(-delta for delta in original[6:10]):
                yield f"{row[15]} does not give back the split of {original[15]}"
    yield from (f"row {name} was reversed {count} times" for name, count in backs.items() if count > 1)
    yield from (f"{ref} was booked {len(rows)} times" for ref, rows in booked.items() if len(rows) > 1)
    accepted: set[str] = set()
    for ask, answers in run.told.items():
        final = [answer for answer in answers if answer.refusal is None or answer.refusal in STICKY]
        if ask.steps and len(set(final)) > 1 and len(ask.steps) == 1:
            yield f"{ask} has several answers: {sorted(set(map(str, final)))}"
        if any(answer.refusal is None for answer in final):
            accepted |= {step.ref for step in ask.steps}
        for answer in answers:
            for step, version in zip(ask.steps, answer.versions, strict=False):
                if version and [row[2] for row in booked.get(step.ref, [])] != [version]:
                    yield f"{step.ref} was acknowledged as {version} and is booked as {booked.get(step.ref)}"
    yield from (f"{ref} was refused and yet booked" for ref in booked if ref not in accepted)
    poisoned = [ask for ask in run.given_up if not ask.steps[0].ref.startswith("poison")]
    yield from (f"{ask} was never answered" for ask in poisoned)


def _judge_history(run: Run) -> Iterator[str]:
    """Hold each answer against the model, in the order of the moments at which they took effect."""
    said: dict[Ask, set[Answer]] = {}
    for moment, entries in enumerate(run.ledger.log):
        for entry in entries:
            if entry.request is None or entry.result is None:
                assert entry.change is not None
                entry.change(run.model)
                continue
            ask, answer = run.asks[id(entry.request)], read_answer(entry.result)
            wanted = run.model.ask(ask)
            said.setdefault(ask, set()).add(answer)
            if _agree(answer, wanted, loose=entry.loose):
                continue
            if not _overlaps(run, entry.request, answer, wanted, moment):
                yield f"{ask}: {answer} instead of {wanted}"
                return
            _take_over(run, ask, answer)
    for ask, answers in run.told.items():
        if not set(answers) <= said.get(ask, set()):
            yield f"{ask} was told {answers}, and committed was {said.get(ask)}"
    for wallet, purse in run.model.purses.items():
        version, *buckets = run.ledger.wallets[wallet]
        if (version, tuple(buckets)) != (len(purse.rows), purse.buckets):
            yield f"wallet {wallet}: {buckets} at {version}, the model says {purse.buckets} at {len(purse.rows)}"
        awards = {name[2]: tuple(award) for name, award in run.ledger.awards.items() if name[1] == wallet}
        wanted_awards = {granted: (left, purse.wagered(granted)) for granted, left in purse.awards.items()}
        if awards != wanted_awards:
            yield f"wallet {wallet}: awards {awards}, the model says {wanted_awards}"
        for row in purse.rows:
            deltas = run.ledger.journal.get((wallet, row.version), (0,) * 17)[6:10]
            if deltas != (row.real, row.bonus, row.held, row.debt):
                yield f"wallet {wallet}: row {row.version} moved {deltas}, the model says {row}"


def _agree(answer: Answer, wanted: Answer, *, loose: bool) -> bool:
    """Return whether an answer is the model's; versions count where something was accepted."""
    versions = () if answer.refusal is not None else answer.versions
    wanted_versions = () if wanted.refusal is not None else wanted.versions
    balances = loose or answer.balance == wanted.balance
    return balances and (answer.refusal, versions) == (wanted.refusal, wanted_versions)


def _overlaps(run: Run, request: WalletRequest, answer: Answer, wanted: Answer, moment: int) -> bool:
    """Return whether a refusal fell between another one on the same key and its commit.

    Both are right and neither came first; one that binds may stand beside another that binds, no more.
    """
    if answer.refusal is None or (answer.refusal in STICKY and wanted.refusal is None):
        return False
    keys = {(TENANT, request.source_id, key) for leg in request.legs for key in (leg.key, leg.reverses)}
    return any(key in keys and began < moment < committed for key, began, committed in run.ledger.in_flight)


def _take_over(run: Run, ask: Ask, answer: Answer) -> None:
    """Let the model know which leg the ledger remembers a refusal of."""
    for step in ask.steps:
        name, stored = (ask.source, step.ref), run.ledger.keys.get((TENANT, ask.source, compute_key(step.ref)))
        if answer.refusal in STICKY and name not in run.model.keys and stored and stored[2] == Outcome.REFUSED:
            run.model.refuse(ask, step, answer.refusal, stored[5])


def _judge_rounds(run: Run) -> Iterator[str]:
    names = {ask.round: (ask.wallet, compute_round_id(SOURCE, ask.round)) for ask in run.told if ask.round}
    for name, (wallet, round_id) in names.items():
        facts = run.ledger.rounds.get((TENANT, round_id, wallet))
        rows = [row for row in run.model.purses[wallet].rows if row.round == name]
        if facts is None:
            if rows:
                yield f"{name} has bookings and no row"
            continue
        bets = [row for row in rows if row.op in {"bet", "bet_rollback"}]
        wins = [row for row in rows if row.op in {"win", "win_rollback"}]
        wanted = (
            -sum(row.real for row in bets),
            -sum(row.bonus for row in bets),
            sum(row.claim for row in wins),
            len(run.model.purses[wallet].live_bets(name)),
            rows[0].version if rows else 0,
            rows[-1].version if rows else 0,
            {"finished": 2, "voided": 3}.get(run.model.purses[wallet].closed.get(name, ""), 1),
        )
        columns = ("bet_real", "bet_bonus", "win_minor", "bets", "first_version", "last_version", "state")
        found = tuple(facts[column] for column in columns)
        if found != wanted:
            yield f"{name}: the round says {found}, its bookings {wanted}"
