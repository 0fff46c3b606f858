"""What the wallet promises, written a second time: one request after the other, plain values, nothing shared.

The model keeps no running sums of rounds, limits or awards: it reads them off its own journal, so that it
cannot share a mistake of bookkeeping with the code that it judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

STICKY = {
    "insufficient_funds",
    "limit_reached",
    "player_blocked",
    "game_forbidden",
    "rolled_back",
    "already_reversed",
    "round_closed",
}
GAME_OPS = ("bet", "win", "bet_rollback", "win_rollback")


@dataclass(frozen=True)
class Step:
    """One movement asked for."""

    op: str
    ref: str
    amount: int = 0
    target: str = ""


@dataclass(frozen=True)
class Ask:
    """One request as a client sends it, again and again until it is answered."""

    wallet: int
    source: int
    steps: tuple[Step, ...]
    round: str = ""
    finished: bool = False
    session: str = ""
    session_ok: bool = True
    game: str = "dice"


@dataclass(frozen=True)
class Answer:
    refusal: str | None
    balance: int | None
    versions: tuple[int, ...] = ()


@dataclass
class Row:
    """One booking of the model."""

    wallet: int
    version: int
    op: str
    ref: str
    account: str
    real: int
    bonus: int
    held: int
    debt: int
    round: str
    reverses: int = 0
    awards: tuple[tuple[int, int], ...] = ()

    @property
    def claim(self) -> int:
        return self.real + self.bonus + self.held - self.debt


@dataclass
class Entry:
    """What a key stands for: 'accepted', 'refused', 'tombstone' or 'nothing'."""

    state: str
    wallet: int
    content: tuple[object, ...]
    told: int
    refusal: str = ""
    version: int = 0


@dataclass
class Hold:
    amount: int
    captured: int = 0
    released: int = 0

    @property
    def open(self) -> int:
        return self.amount - self.captured - self.released


@dataclass
class Purse:
    """One wallet of the model."""

    real: int = 0
    bonus: int = 0
    held: int = 0
    debt: int = 0
    active: bool = True
    excluded: bool = False
    bonus_first: bool = False
    limits: dict[str, int] = field(default_factory=dict[str, int])
    rows: list[Row] = field(default_factory=list[Row])
    holds: dict[int, Hold] = field(default_factory=dict[int, Hold])
    awards: dict[int, int] = field(default_factory=dict[int, int])
    closed: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def playable(self) -> int:
        return self.real + self.bonus

    @property
    def buckets(self) -> tuple[int, int, int, int]:
        return self.real, self.bonus, self.held, self.debt

    def copy(self) -> Purse:
        return replace(
            self,
            limits=dict(self.limits),
            rows=list(self.rows),
            holds={version: replace(hold) for version, hold in self.holds.items()},
            awards=dict(self.awards),
            closed=dict(self.closed),
        )

    def row(self, version: int) -> Row:
        return self.rows[version - 1]

    def reversed(self, version: int) -> bool:
        return any(row.reverses == version for row in self.rows)

    def wagered(self, granted: int) -> int:
        """What was staked of an award, less what was given back."""
        rows = [row for row in self.rows if row.op in {"bet", "bet_rollback"}]
        return -sum(part for row in rows for award, part in row.awards if award == granted)

    def live_bets(self, round_id: str) -> list[Row]:
        return [
            row for row in self.rows if row.round == round_id and row.op == "bet" and not self.reversed(row.version)
        ]

    def played(self, round_id: str) -> bool:
        return any(row.round == round_id and row.op in GAME_OPS for row in self.rows)

    def used(self, kind: str, since: int = 0) -> int:
        """What counts against a limit: deposits, stakes less their rollbacks, or stakes less all returns."""
        counted = {"deposit": ("deposit",), "stake": ("bet", "bet_rollback"), "loss": GAME_OPS}[kind]
        moved = sum(row.real + row.bonus - row.debt for row in self.rows[since:] if row.op in counted)
        return moved if kind == "deposit" else -moved


class Refused(Exception):
    def __init__(self, reason: str, step: Step | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.step = step


class Known(Exception):
    """A refusal that was told before."""

    def __init__(self, reason: str, told: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.told = told


class Model:
    """All wallets and keys of one tenant."""

    def __init__(self) -> None:
        self.purses: dict[int, Purse] = {}
        self.keys: dict[tuple[int, str], Entry] = {}
        self.sessions: dict[str, int] = {}
        """The wallet of each session that takes bets."""
        self.games: set[str] = {"dice"}
        self.terms: dict[tuple[int, str], tuple[int, int]] = {}
        """What is to be staked of an award before its rest is real, and when it ends."""
        self.now_us = 0

    def set_active(self, wallet: int, *, active: bool) -> None:
        """Open or block a wallet; where it is so already, nothing happens."""
        purse = self.purses[wallet]
        if purse.active != active:
            purse.active = active
            self._change_terms(wallet)

    def set_limit(self, wallet: int, kind: str, amount: int | None) -> None:
        """Set or remove a limit; one that is not there cannot be removed."""
        limits = self.purses[wallet].limits
        if amount is None and limits.pop(kind, None) is None:
            return
        if amount is not None:
            limits[kind] = amount
        self._change_terms(wallet)

    def set_excluded(self, wallet: int, *, excluded: bool) -> None:
        """Take no more stakes and deposits of a wallet, or take them again."""
        self.purses[wallet].excluded = excluded
        self._change_terms(wallet)

    def end_award(self, wallet: int, ref: str) -> None:
        """End an award before its time, whether it was booked or not."""
        self.terms[wallet, ref] = (self.terms[wallet, ref][0], 0)
        self._change_terms(wallet)

    def fail_session(self, wallet: int, session: str) -> None:
        """End a session of a wallet."""
        self.sessions.pop(session, None)
        self._change_terms(wallet)

    def _change_terms(self, wallet: int) -> None:
        """Book the row that moves nothing and takes the wallet's next version."""
        rows = self.purses[wallet].rows
        rows.append(Row(wallet, len(rows) + 1, "terms", "", "", 0, 0, 0, 0, ""))

    def ask(self, ask: Ask) -> Answer:
        """Return the answer and take it over."""
        purse = self.purses[ask.wallet]
        self._settle(ask.wallet, purse)
        if not ask.steps:
            self._finish(purse, ask)
            return Answer(None, purse.playable)
        draft, fresh = purse.copy(), dict[tuple[int, str], Entry]()
        versions: list[int] = []
        told = purse.playable
        try:
            for step in ask.steps:
                entry = fresh.get((ask.source, step.ref)) or self.keys.get((ask.source, step.ref))
                if entry is None:
                    versions.append(self._apply(ask, step, draft, fresh, len(purse.rows)))
                else:
                    versions.append(self._again(ask, step, entry))
                    told = entry.told
        except Known as known:
            return Answer(known.reason, known.told)
        except Refused as refused:
            if refused.step is not None and refused.reason in STICKY:
                self.refuse(ask, refused.step, refused.reason, purse.playable)
            return Answer(refused.reason, purse.playable)
        if not fresh:
            return Answer(None, told, tuple(versions))
        undone = any(row.op == "bet_rollback" for row in draft.rows[len(purse.rows) :])
        if undone and not draft.live_bets(ask.round):
            draft.closed[ask.round] = "voided"
        self._finish(draft, ask)
        self.purses[ask.wallet] = draft
        self.keys |= fresh
        return Answer(None, draft.playable, tuple(versions))

    def refuse(self, ask: Ask, step: Step, reason: str, told: int) -> None:
        """Remember a refusal that binds."""
        self.keys[ask.source, step.ref] = Entry("refused", ask.wallet, _content(ask, step), told, reason)

    @staticmethod
    def _finish(purse: Purse, ask: Ask) -> None:
        if ask.finished and ask.round and purse.played(ask.round):
            purse.closed.setdefault(ask.round, "finished")

    @staticmethod
    def _again(ask: Ask, step: Step, entry: Entry) -> int:
        if entry.state == "tombstone" and entry.wallet == ask.wallet:
            raise Known("rolled_back", entry.told)
        if entry.state == "tombstone":
            raise Refused("rolled_back")
        if entry.content != _content(ask, step):
            raise Refused("reference_misused")
        if entry.state == "refused":
            raise Known(entry.refusal, entry.told)
        return entry.version

    def _apply(self, ask: Ask, step: Step, purse: Purse, fresh: dict[tuple[int, str], Entry], before: int) -> int:
        if step.op == "rollback":
            return self._roll_back(ask, step, purse, fresh)
        if step.amount <= 0 and step.op not in {"void", "adjustment"}:
            raise Refused("malformed")
        account, reverses = "house", 0
        if step.op == "bet":
            moved = self._bet(ask, step, purse, before)
        elif step.op == "win":
            moved = self._win(ask, step, purse)
        elif step.op == "deposit":
            self._may(purse, step, "deposit", before)
            moved = _credit(purse, step.amount)
        elif step.op == "adjustment":
            if step.amount < -purse.real:
                raise Refused("insufficient_funds", step)
            moved = _credit(purse, step.amount) if step.amount > 0 else (step.amount, 0, 0, 0)
        elif step.op == "award":
            if not purse.active or purse.excluded:
                raise Refused("player_blocked", step)
            moved = (0, step.amount, 0, 0)
        elif step.op == "award_forfeit":
            if step.amount > purse.bonus:
                raise Refused("insufficient_funds", step)
            moved = (0, -step.amount, 0, 0)
        elif step.op == "hold":
            if not purse.active:
                raise Refused("player_blocked", step)
            if step.amount > purse.real:
                raise Refused("insufficient_funds", step)
            moved = (-step.amount, 0, step.amount, 0)
        else:
            moved = self._resolve(ask, step, purse, fresh)
        return self._book(ask, step, step.op, account, moved, purse, fresh, reverses)

    def _bet(self, ask: Ask, step: Step, purse: Purse, before: int) -> tuple[int, int, int, int]:
        if not purse.active or purse.excluded:
            raise Refused("player_blocked", step)
        if ask.round:
            if not ask.session_ok or (ask.session and self.sessions.get(ask.session) != ask.wallet):
                raise Refused("session_invalid", step)
            if ask.game not in self.games:
                raise Refused("game_forbidden", step)
            if ask.round in purse.closed:
                raise Refused("round_closed", step)
        self._may(purse, step, "stake", before)
        self._may(purse, step, "loss", before)
        if step.amount > purse.playable:
            raise Refused("insufficient_funds", step)
        if purse.bonus_first:
            bonus = min(step.amount, purse.bonus)
            return bonus - step.amount, -bonus, 0, 0
        real = min(step.amount, purse.real)
        return -real, real - step.amount, 0, 0

    @staticmethod
    def _may(purse: Purse, step: Step, kind: str, before: int) -> None:
        if kind == "deposit" and (not purse.active or purse.excluded):
            raise Refused("player_blocked", step)
        if kind not in purse.limits or step.amount <= 0:
            return
        used = purse.used(kind) - purse.used(kind, before)
        if used + max(0, purse.used(kind, before)) + step.amount > purse.limits[kind]:
            raise Refused("limit_reached", step)

    @staticmethod
    def _win(ask: Ask, step: Step, purse: Purse) -> tuple[int, int, int, int]:
        real = bonus = 0
        if ask.round:
            if purse.closed.get(ask.round) == "voided":
                raise Refused("rolled_back", step)
            bets = purse.live_bets(ask.round)
            if not bets:
                raise Refused("unknown_reference", step)
            real, bonus = -sum(bet.real for bet in bets), -sum(bet.bonus for bet in bets)
        share = step.amount * bonus // (real + bonus) if real + bonus else 0
        credited = _credit(purse, step.amount - share)
        return credited[0], share, 0, credited[3]

    def _roll_back(self, ask: Ask, step: Step, purse: Purse, fresh: dict[tuple[int, str], Entry]) -> int:
        name = (ask.source, step.target)
        target = fresh.get(name) or self.keys.get(name)
        if target is not None and target.wallet != ask.wallet:
            raise Refused("reference_misused")
        if target is not None and target.version and purse.row(target.version).round != ask.round:
            raise Refused("reference_misused")
        if target is None:
            fresh[name] = Entry("tombstone", ask.wallet, (), purse.playable)
        if target is None or target.state != "accepted" or purse.reversed(target.version):
            fresh[ask.source, step.ref] = Entry("nothing", ask.wallet, _content(ask, step), purse.playable)
            return 0
        row = purse.row(target.version)
        if row.op not in {"bet", "win"}:
            raise Refused("already_reversed", step)
        real, bonus, debt = purse.real - row.real, purse.bonus - row.bonus, purse.debt - row.debt
        if bonus < 0:
            real, bonus = real + bonus, 0
        if real < 0:
            real, debt = 0, debt - real
        moved = (real - purse.real, bonus - purse.bonus, 0, debt - purse.debt)
        return self._book(ask, step, f"{row.op}_rollback", row.account, moved, purse, fresh, row.version)

    def _resolve(
        self, ask: Ask, step: Step, purse: Purse, fresh: dict[tuple[int, str], Entry]
    ) -> tuple[int, int, int, int]:
        name = (ask.source, step.target)
        target = fresh.get(name) or self.keys.get(name)
        hold = None
        if target is not None and target.state == "accepted" and target.wallet == ask.wallet:
            hold = purse.holds.get(target.version)
        if hold is None:
            raise Refused("unknown_reference")
        amount = hold.open if step.op == "void" else step.amount
        if not hold.open or amount > hold.open:
            raise Refused("already_reversed", step)
        if step.op == "capture":
            hold.captured += amount
            return 0, 0, -amount, 0
        hold.released += amount
        return amount, 0, -amount, 0

    def _settle(self, wallet: int, purse: Purse) -> None:
        """Turn what is left of awards into real money where enough was staked, or take it back where they ended."""
        for granted, left in sorted(purse.awards.items()):
            ref = purse.row(granted).ref
            if not left or (wallet, ref) not in self.terms:
                continue
            required, ends = self.terms[wallet, ref]
            if purse.wagered(granted) >= required:
                op, (real, _, _, debt) = "award_convert", _credit(purse, left)
            elif ends <= self.now_us:
                op, real, debt = "award_forfeit", 0, 0
            else:
                continue
            version = len(purse.rows) + 1
            row = Row(wallet, version, op, f"{ref}/{version}", "house", real, -left, 0, debt, "")
            row.awards = ((granted, -left),)
            purse.rows.append(row)
            purse.awards[granted] = 0
            purse.real, purse.bonus, purse.debt = purse.real + real, purse.bonus - left, purse.debt + debt

    def _goes_on(self, wallet: int, purse: Purse, granted: int) -> bool:
        return self.terms.get((wallet, purse.row(granted).ref), (0, self.now_us + 1))[1] > self.now_us

    def _book(
        self,
        ask: Ask,
        step: Step,
        op: str,
        account: str,
        moved: tuple[int, int, int, int],
        purse: Purse,
        fresh: dict[tuple[int, str], Entry],
        reverses: int,
    ) -> int:
        real, bonus, held, debt = moved
        version = len(purse.rows) + 1
        row = Row(ask.wallet, version, op, step.ref, account, real, bonus, held, debt, ask.round, reverses)
        if op == "award":
            purse.awards[version] = step.amount
        elif bonus:
            row.awards = self._award_parts(purse, row)
            for granted, part in row.awards:
                purse.awards[granted] += part
        elif op == "hold":
            purse.holds[version] = Hold(step.amount)
        purse.rows.append(row)
        purse.real, purse.bonus = purse.real + real, purse.bonus + bonus
        purse.held, purse.debt = purse.held + held, purse.debt + debt
        if bonus:
            self._settle(ask.wallet, purse)
        fresh[ask.source, step.ref] = Entry("accepted", ask.wallet, _content(ask, step), purse.playable, "", version)
        return version

    def _award_parts(self, purse: Purse, row: Row) -> tuple[tuple[int, int], ...]:
        """Bonus money leaves the oldest awards; it returns to where its bet took it, or else to the oldest with money.

        Where none has any, it goes to the newest that goes on.
        """
        if row.bonus < 0:
            parts, wanted = list[tuple[int, int]](), -row.bonus
            for granted, remaining in sorted(purse.awards.items()):
                part = min(remaining, wanted)
                if part:
                    parts.append((granted, -part))
                wanted -= part
            return tuple(parts)
        if row.reverses:
            return tuple((granted, -part) for granted, part in purse.row(row.reverses).awards)
        with_money = [granted for granted, remaining in sorted(purse.awards.items()) if remaining]
        going_on = [granted for granted in purse.awards if self._goes_on(row.wallet, purse, granted)]
        return ((with_money[0] if with_money else max(going_on or purse.awards), row.bonus),)


def _content(ask: Ask, step: Step) -> tuple[object, ...]:
    return (step.op, ask.wallet, step.amount, ask.round, step.target)


def _credit(purse: Purse, amount: int) -> tuple[int, int, int, int]:
    repaid = min(purse.debt, amount)
    return amount - repaid, 0, 0, -repaid
