"""The seeded simulator: real lanes and real decisions over a ledger that breaks, and clients that do not give up.

Everything follows from the seed: who asks for what, when, how often, and what goes wrong. Afterwards the
history is held against the promises: conservation, no negative bucket, projection equal to journal, holds and
awards that add up, one answer a key, a refusal that changes nothing, and the model's answer for every commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.property.asks import make_request, read_answer
from tests.property.memory_ledger import TENANT, Faults, FaultyPoster, MemoryLedger
from tests.property.model import STICKY, Answer, Ask, Model, Purse, Step
from tests.property.virtual_time import VirtualLoop

from pitboss.games.rules import compute_round_id
from pitboss.ledger.contracts import Op
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.rules import BatchWalk, SpendOrder
from pitboss.wallet.runtime import Lane

SOURCE, ACCOUNT = 7, 11
PATIENCE_ATTEMPTS = 60
WEATHER = (
    Faults(),
    Faults(slow=40),
    Faults(drop_before=15, drop_after=15, slow=20),
    Faults(drop_after=45, slow=10),
    Faults(deadlock=30, drop_before=5, drop_after=5, slow=30),
)


@dataclass
class Parts:
    """What is simulated; a mutant replaces one of them."""

    walk: Callable[[Any], Any] = BatchWalk
    lane: Callable[[Any], Any] = Lane


@dataclass
class Run:
    """One seed: the world, what clients were told, and what was found wrong."""

    seed: int
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
        )
        self.asks[id(request)] = ask
        self.kept.append(request)
        return request


class Script:
    """What the clients of a seed want; each line is a chain of asks that one client sends in order."""

    def __init__(self, rng: Random, wallets: int) -> None:
        self._rng = rng
        self._wallets = wallets
        self._number = 0

    def ref(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number}"

    def amount(self) -> int:
        return self._rng.choice((1, 2, 3, 7, 10, 33, 50, 100, 999))

    def lines(self, count: int) -> list[list[Ask]]:
        makers = (self.round, self.round, self.round, self.play, self.withdrawal, self.money, self.late_bet, self.odd)
        return [self._rng.choice(makers)(self._rng.randrange(1, self._wallets + 1)) for _ in range(count)]

    def ask(self, wallet: int, *steps: Step, **more: Any) -> Ask:
        return Ask(wallet, SOURCE, steps, **more)

    def round(self, wallet: int) -> list[Ask]:
        """Bets, wins and rollbacks of one round, sometimes in the wrong order."""
        rng, name = self._rng, self.ref("round")
        line: list[Ask] = []
        bets: list[str] = []
        wins: list[str] = []
        for _ in range(rng.randrange(1, 4)):
            steps: list[Step] = []
            if not bets or rng.random() < 0.4:
                bets.append(self.ref("bet"))
                steps.append(Step("bet", bets[-1], self.amount()))
            if rng.random() < 0.5:
                wins.append(self.ref("win"))
                steps.append(Step("win", wins[-1], self.amount()))
            if steps:
                line.append(self.ask(wallet, *steps, round=name, finished=rng.random() < 0.2))
        if rng.random() < 0.5:
            targets = rng.sample(bets + wins, rng.randrange(1, len(bets + wins) + 1))
            steps = [Step("rollback", self.ref("back"), 0, target) for target in targets]
            if rng.random() < 0.2:
                steps.append(Step("rollback", self.ref("back"), 0, targets[0]))
            line.append(self.ask(wallet, *steps, round=name))
            if rng.random() < 0.3:
                line.append(self.ask(wallet, Step("rollback", self.ref("back"), 0, targets[0]), round=name))
        if rng.random() < 0.3:
            line.append(self.ask(wallet, round=name, finished=True))
        if rng.random() < 0.2:
            line.append(self.ask(wallet, Step("bet", self.ref("bet"), self.amount()), round=name))
        if rng.random() < 0.3:
            rng.shuffle(line)
        return line

    def play(self, wallet: int) -> list[Ask]:
        """Several movements in one request, refused whole when one is."""
        rng, name = self._rng, self.ref("round")
        first, second = self.ref("bet"), self.ref("bet")
        steps = [Step("bet", first, self.amount()), Step("win", self.ref("win"), self.amount())]
        steps.append(Step("bet", second, rng.choice((5, 40, 180, 900, 5000))))
        if rng.random() < 0.3:
            steps.append(Step("rollback", self.ref("back"), 0, first))
        line = [self.ask(wallet, *steps, round=name)]
        if rng.random() < 0.5:
            line.append(self.ask(wallet, *steps[:2], round=name))
        if rng.random() < 0.3:
            line.append(self.ask(wallet, *steps, Step("win", self.ref("win"), 3), round=name))
        return line

    def withdrawal(self, wallet: int) -> list[Ask]:
        rng, hold = self._rng, self.ref("hold")
        amount = self.amount()
        line = [self.ask(wallet, Step("hold", hold, amount))]
        parts = [part for part in (amount // 3, amount // 2) if part and rng.random() < 0.6]
        line += [self.ask(wallet, Step("capture", self.ref("capture"), part, hold)) for part in parts]
        if rng.random() < 0.6:
            line.append(self.ask(wallet, Step("void", self.ref("void"), 0, hold)))
        if rng.random() < 0.3:
            line.append(self.ask(wallet, Step("capture", self.ref("capture"), amount, hold)))
        if rng.random() < 0.2:
            rng.shuffle(line)
        return line

    def money(self, wallet: int) -> list[Ask]:
        rng, line = self._rng, list[Ask]()
        for op in rng.sample(("deposit", "award", "adjustment", "award_forfeit"), 2):
            amount = self.amount() * (-1 if rng.random() < (0.5 if op == "adjustment" else 0.03) else 1)
            line.append(self.ask(wallet, Step(op, self.ref(op), amount)))
        return line

    def late_bet(self, wallet: int) -> list[Ask]:
        """A rollback that overtakes its bet."""
        name, bet = self.ref("round"), self.ref("bet")
        back = self.ask(wallet, Step("rollback", self.ref("back"), 0, bet), round=name)
        late = self.ask(wallet, Step("bet", bet, self.amount()), round=name)
        other = self.ask(wallet, Step("bet", self.ref("bet"), self.amount()), round=name)
        return [back, late] if self._rng.random() < 0.5 else [other, back, late]

    def odd(self, wallet: int) -> list[Ask]:
        """Misuse: one reference for two things, another wallet's bet, a switched-off game, a request that breaks."""
        rng, name, bet = self._rng, self.ref("round"), self.ref("bet")
        amount, stranger = self.amount(), wallet % self._wallets + 1
        kind = rng.randrange(7)
        if kind == 0:
            return [
                self.ask(wallet, Step("bet", bet, amount), round=name),
                self.ask(wallet, Step("bet", bet, amount + 1), round=name),
            ]
        if kind == 1:
            return [self.ask(wallet, Step("bet", bet, amount)), self.ask(stranger, Step("bet", bet, amount))]
        if kind == 2:
            return [
                self.ask(wallet, Step("bet", bet, amount)),
                self.ask(stranger, Step("rollback", self.ref("back"), 0, bet)),
            ]
        if kind == 3:
            return [self.ask(wallet, Step("bet", bet, amount), round=name, game_ok=False)]
        if kind == 4:
            return [self.ask(wallet, Step("bet", bet, amount), round=name, session_ok=False)]
        if kind == 5:
            return [
                self.ask(wallet, Step("bet", bet, amount), round=name),
                self.ask(wallet, Step("rollback", self.ref("back"), 0, bet), round=self.ref("round")),
            ]
        return [self.ask(wallet, Step("deposit", self.ref("poison"), amount))]


def simulate(seed: int, parts: Parts | None = None) -> list[str]:
    """Run one seed and return what is wrong, in words."""
    rng, run, loop = Random(seed), Run(seed), VirtualLoop()
    try:
        loop.run_until_complete(_play(run, rng, parts or Parts()))
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


def _furnish(run: Run, rng: Random, wallets: int) -> None:
    bonus_first = rng.random() < 0.4
    run.ledger.spend_orders = {TENANT: SpendOrder.BONUS_FIRST if bonus_first else SpendOrder.REAL_FIRST}
    for wallet in range(1, wallets + 1):
        run.ledger.wallets[wallet] = [0, 0, 0, 0, 0]
        run.ledger.locks[wallet] = asyncio.Lock()
        purse = run.model.purses[wallet] = Purse(bonus_first=bonus_first)
        if rng.random() < 0.15:
            run.ledger.blocked.add(wallet)
            purse.active = False
        for kind in rng.sample(list(LimitKind), rng.choice((0, 0, 0, 1, 2))):
            limit = Limit(kind, Period.DAY, rng.choice((50, 200, 1000)))
            run.ledger.limits.setdefault((TENANT, wallet), []).append(limit)
            purse.limits[kind.name.lower()] = limit.amount_minor


async def _play(run: Run, rng: Random, parts: Parts) -> None:
    wallets, faults = rng.randrange(1, 5), rng.choice(WEATHER)
    _furnish(run, rng, wallets)
    posters = [FaultyPoster(run.ledger, rng, faults, parts.walk) for _ in range(rng.randrange(1, 4))]
    lanes = [parts.lane(poster) for poster in posters]
    tasks = [asyncio.create_task(lane.run()) for lane in lanes]
    script = Script(rng, wallets)
    seeded = [script.ask(wallet, Step("deposit", script.ref("deposit"), 1000)) for wallet in run.ledger.wallets]
    seeded += [script.ask(w, Step("award", script.ref("award"), 100)) for w in run.ledger.wallets if rng.random() < 0.5]
    lines = [[ask] for ask in seeded] + script.lines(rng.randrange(6, 14))
    await asyncio.gather(*[_client(run, rng, lanes, line, posters) for line in lines])
    everything = [ask for line in lines for ask in line]
    again = rng.sample(everything, min(len(everything), 6))
    await asyncio.gather(*[_send(run, rng, lanes, ask, posters) for ask in again])
    for lane in lanes:
        lane.close()
    await asyncio.gather(*tasks)


async def _client(run: Run, rng: Random, lanes: list[Any], line: list[Ask], posters: list[FaultyPoster]) -> None:
    await asyncio.sleep(rng.randrange(40) / 1000)
    for ask in line:
        copies = rng.choice((1, 1, 1, 2, 3))
        await asyncio.gather(*[_send(run, rng, lanes, ask, posters) for _ in range(copies)])


async def _send(run: Run, rng: Random, lanes: list[Any], ask: Ask, posters: list[FaultyPoster]) -> None:
    for attempt in range(PATIENCE_ATTEMPTS):
        if attempt == PATIENCE_ATTEMPTS // 2:
            for poster in posters:
                poster.calm = True
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
        awards = [award for name, award in ledger.awards.items() if name[:2] == pair]
        if sum(award.remaining for award in awards) != buckets[1] or any(award.remaining < 0 for award in awards):
            yield f"wallet {wallet}: bonus {buckets[1]}, awards {[award.remaining for award in awards]}"


def _judge_answers(run: Run) -> Iterator[str]:
    booked: dict[str, list[tuple[Any, ...]]] = {}
    backs: dict[tuple[int, int], int] = {}
    for row in run.ledger.journal.values():
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
    """Hold each committed answer against the model, in the order of the commits."""
    said: dict[Ask, set[Answer]] = {}
    for request, result in run.ledger.log:
        ask, answer = run.asks[id(request)], read_answer(result)
        wanted = run.model.ask(ask)
        said.setdefault(ask, set()).add(answer)
        if _without_bare_versions(wanted) != _without_bare_versions(answer):
            yield f"{ask}: {answer} instead of {wanted}"
            return
    for ask, answers in run.told.items():
        if not set(answers) <= said.get(ask, set()):
            yield f"{ask} was told {answers}, and committed was {said.get(ask)}"
    for wallet, purse in run.model.purses.items():
        version, *buckets = run.ledger.wallets[wallet]
        if (version, tuple(buckets)) != (len(purse.rows), purse.buckets):
            yield f"wallet {wallet}: {buckets} at {version}, the model says {purse.buckets} at {len(purse.rows)}"
        awards = {n[2]: (a.remaining, a.wagered) for n, a in run.ledger.awards.items() if n[1] == wallet}
        wanted_awards = {granted: (left, purse.wagered(granted)) for granted, left in purse.awards.items()}
        if awards != wanted_awards:
            yield f"wallet {wallet}: awards {awards}, the model says {wanted_awards}"
        for row in purse.rows:
            deltas = run.ledger.journal.get((wallet, row.version), (0,) * 17)[6:10]
            if deltas != (row.real, row.bonus, row.held, row.debt):
                yield f"wallet {wallet}: row {row.version} moved {deltas}, the model says {row}"


def _without_bare_versions(answer: Answer) -> Answer:
    return answer if answer.refusal is None else Answer(answer.refusal, answer.balance)


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
        found = (
            facts.bet_real,
            facts.bet_bonus,
            facts.win_minor,
            facts.bets,
            facts.first_version,
            facts.last_version,
            facts.state,
        )
        if found != wanted:
            yield f"{name}: the round says {found}, its bookings {wanted}"
