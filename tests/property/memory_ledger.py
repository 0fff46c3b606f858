"""A database in memory that a lane's poster reads and writes: the parts of statements, by the identity of their SQL.

It gives the guarantees that lanes rely on (a statement is all or nothing, versions continue, keys, rounds and
reversals come once, what a part expects holds) and none of the guards beyond, so that a wrong decision is seen and
not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import asyncpg
import msgspec
from tests.property.model import Model

from pitboss.bonus import store as bonus_store
from pitboss.games.store import rounds as rounds_store
from pitboss.kernel.clock import epoch_microseconds, utc_now
from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger.contracts import Op, OpenHold
from pitboss.ledger.store import posting
from pitboss.limits import store as limits_store
from pitboss.limits.contracts import LimitKind, Period
from pitboss.wallet.contracts import WalletRequest, WalletResult

TENANT = 1
FOR_EVER = 4_000_000_000_000_000
Triple = tuple[int, int, int]
Rows = list[tuple[Any, ...]]

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NUMBERS = msgspec.json.Decoder(list[int | bool | None])
_USES_UP = {
    LimitKind.DEPOSIT: ((Op.DEPOSIT,), 1),
    LimitKind.STAKE: ((Op.BET, Op.BET_ROLLBACK), -1),
    LimitKind.LOSS: ((Op.BET, Op.BET_ROLLBACK, Op.WIN, Op.WIN_ROLLBACK), -1),
}


class Poisoned(RuntimeError):
    """What the server raises on a request that it cannot carry out."""


@dataclass
class Entry:
    """Something that took effect: an answer to a request, or a change of terms.

    The balance of a `loose` answer may be older than the moment that the answer otherwise belongs to.
    """

    request: WalletRequest | None = None
    result: WalletResult | None = None
    change: Callable[[Model], None] | None = None
    loose: bool = False


def numbers(text: str) -> list[int | None]:
    """Return what an array literal of numbers holds."""
    return _NUMBERS.decode(f"[{text[1:-1]}]".replace("NULL", "null"))


def texts(value: str | Sequence[str]) -> list[str]:
    """Return what an array of texts, UUIDs or dates holds, as a literal or as it is; '' for null."""
    if not isinstance(value, str):
        return list(value)
    if '"' not in value:
        return ["" if part == "NULL" else part for part in value[1:-1].split(",")] if value != "{}" else []
    return [part.replace("\\\\", "\\").replace('\\"', '"') for part in _QUOTED.findall(value)]


def table(args: Sequence[Any], width: int) -> Rows:
    """Return the rows of `width` columns of numbers."""
    return list(zip(*[numbers(column) for column in args[:width]], strict=True))


def key_rows(args: Sequence[Any]) -> list[tuple[int, int, bytes]]:
    """Return (tenant, source, key) of the three columns that keys go in."""
    keys = [bytes.fromhex(key.replace("-", "")) for key in texts(args[2])]
    return [(*pair, key) for pair, key in zip(table(args, 2), keys, strict=True)]


@dataclass
class MemoryLedger:
    """Committed state, and the log: at each moment at which something took effect, what did."""

    wallets: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    journal: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict[tuple[int, int], tuple[Any, ...]])
    keys: dict[tuple[int, int, bytes], tuple[Any, ...]] = field(default_factory=dict)
    reversed: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    holds: dict[Triple, OpenHold] = field(default_factory=dict[Triple, OpenHold])
    awards: dict[Triple, list[int]] = field(default_factory=dict[Triple, list[int]])
    award_entries: dict[Triple, dict[int, int]] = field(default_factory=dict[Triple, dict[int, int]])
    terms: dict[tuple[int, int, str], tuple[int, int]] = field(default_factory=dict)
    """What is to be staked of an award, and when it ends."""
    usage: dict[tuple[int, int, int, int, date], int] = field(default_factory=dict)
    limits: dict[int, dict[LimitKind, int]] = field(default_factory=dict[int, dict[LimitKind, int]])
    house: dict[int, int] = field(default_factory=dict[int, int])
    batches: set[int] = field(default_factory=set[int])
    rounds: dict[tuple[int, str, int], dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict[str, int])
    games: dict[str, tuple[bool, int]] = field(default_factory=dict[str, tuple[bool, int]])
    blocked: set[int] = field(default_factory=set[int])
    excluded: set[int] = field(default_factory=set[int])
    awarded: set[int] = field(default_factory=set[int])
    limited: set[int] = field(default_factory=set[int])
    blocks: int = 0
    now_us: int = 1_000_000_000
    """The clock of server and lanes; it stands still until somebody moves it."""
    log: list[list[Entry]] = field(default_factory=list[list[Entry]])
    in_flight: list[tuple[tuple[int, int, bytes], int, int]] = field(default_factory=list)
    """Keys whose outcome was decided at one moment of the log and written at a later one."""

    def moment(self) -> int:
        """Return the number of a moment that begins now, with nothing in it yet."""
        self.log.append([])
        return len(self.log) - 1

    # What reads answer.

    def answer(self, part: ReadPart) -> str:
        """Return the JSON that the server would, of committed rows."""
        rows = _READS[part.sql](self, part.args)
        return rows if isinstance(rows, str) else msgspec.json.encode(list(rows)).decode()

    def next_block(self, _args: Sequence[Any]) -> str:
        self.blocks += 1
        return str(self.blocks)

    def read_wallets(self, args: Sequence[Any]) -> Iterable[Any]:
        for tenant, wallet in table(args, 2):
            if wallet in self.wallets:
                closed_until = FOR_EVER if wallet in self.excluded else 0
                marks = (wallet in self.awarded, wallet not in self.blocked, wallet in self.limited, closed_until, "")
                yield tenant, wallet, wallet, *self.wallets[wallet], *marks

    def read_keys(self, args: Sequence[Any]) -> Iterable[Any]:
        for position, key in enumerate(key_rows(args), 1):
            if key in self.keys:
                wallet, content, outcome, refusal, version, told = self.keys[key]
                row = self.journal.get((wallet, version), (0,) * 14 + ("",))
                back = self.reversed.get((wallet, version), 0)
                yield (
                    position,
                    wallet,
                    content,
                    outcome,
                    refusal,
                    version,
                    told,
                    row[3],
                    row[4],
                    *row[6:10],
                    row[14],
                    back,
                )

    def read_holds(self, args: Sequence[Any]) -> Iterable[Any]:
        for key in key_rows(args):
            wallet, _, _, _, version, _ = self.keys.get(key, (0, 0, 0, 0, 0, 0))
            hold = self.holds.get((TENANT, wallet, version))
            if hold is not None:
                yield TENANT, wallet, version, hold.amount_minor, hold.captured, hold.released, hold.expires_at

    def read_awards(self, args: Sequence[Any]) -> Iterable[Any]:
        pairs = set(table(args, 2))
        for name, award in self.awards.items():
            if name[:2] in pairs:
                row = self.journal[name[1], name[2]]
                yield *name, *award, row[5], row[4], row[15]

    def read_terms(self, args: Sequence[Any]) -> Iterable[Any]:
        pairs = set(table(args, 2))
        return [(*name, *its) for name, its in self.terms.items() if name[:2] in pairs]

    def read_award_entries(self, args: Sequence[Any]) -> Iterable[Any]:
        for name in table(args, 3):
            yield from ((*name, *entry) for entry in sorted(self.award_entries.get(name, {}).items()))

    def read_times(self, args: Sequence[Any]) -> Iterable[Any]:
        """Everything was booked today."""
        yield from ((*name, epoch_microseconds()) for name in table(args, 3) if (name[1], name[2]) in self.journal)

    def read_usage(self, args: Sequence[Any]) -> Iterable[Any]:
        pairs = set(table(args, 2))
        return [(*name, used) for name, used in self.usage.items() if name[:2] in pairs and name[4] >= args[2]]

    def read_limits(self, args: Sequence[Any]) -> Iterable[Any]:
        for tenant, wallet in table(args, 2):
            yield from ((tenant, wallet, kind, Period.DAY, most) for kind, most in self.limits.get(wallet, {}).items())

    def read_sessions(self, args: Sequence[Any]) -> Iterable[Any]:
        for position, (session, wallet) in enumerate(zip(texts(args[1]), numbers(args[2]), strict=True), 1):
            if self.sessions.get(session) == wallet:
                yield position, wallet, FOR_EVER

    def read_games(self, args: Sequence[Any]) -> Iterable[Any]:
        codes = enumerate(texts(args[2]), 1)
        return [(position, *self.games[code]) for position, code in codes if code in self.games]

    def read_rounds(self, args: Sequence[Any]) -> Iterable[Any]:
        rows = zip(table((args[0], args[2]), 2), texts(args[1]), strict=True)
        for position, ((tenant, wallet), round_id) in enumerate(rows, 1):
            name = (tenant, round_id, wallet)
            if name in self.rounds:
                yield position, *[self.rounds[name][column] for column in _ROUND_READ]

    # What writes do.

    def holds_true(self, part: WritePart) -> bool:
        """Return whether what a part expects holds; what a change expects of its own rows is seen when it happens."""
        return True if part.sql else _CHECKS[part.check](self, part.args)

    def still_stands(self, args: Sequence[Any]) -> bool:
        return all(self.wallets[wallet][0] == version for _, wallet, version in table(args, 3))

    def games_stand(self, args: Sequence[Any]) -> bool:
        seen = zip(numbers(args[3]), numbers(args[4]), strict=True)
        return all(self.games.get(code) == its for code, its in zip(texts(args[2]), seen, strict=True))

    def has_not_ended(self, args: Sequence[Any]) -> bool:
        return self.now_us < args[0]

    def are_new_keys(self, args: Sequence[Any]) -> bool:
        return not any(key in self.keys for key in key_rows(args))

    def are_as_seen(self, args: Sequence[Any]) -> bool:
        nothing = {"last_version": 0, "state": 0}
        for tenant, round_id, wallet, *seen in zip(
            numbers(args[0]), texts(args[1]), *map(numbers, args[2:]), strict=True
        ):
            found = self.rounds.get((tenant, round_id, wallet), nothing)
            if [found["last_version"], found["state"]] != seen:
                return False
        return True

    def write(self, parts: Sequence[WritePart]) -> None:
        """Carry out everything, or raise and change nothing."""
        changes = [part for part in parts if part.sql]
        for part in changes:
            _GUARDS.get(part.sql, lambda _ledger, _args: None)(self, part.args)
        for part in changes:
            _WRITES[part.sql](self, part.args)

    def guard_book(self, args: Sequence[Any]) -> None:
        if any(reference.startswith("poison") for reference in texts(args[15])):
            raise Poisoned("a value that the server does not take")
        stands = {wallet: list(state) for wallet, state in self.wallets.items()}
        reversals = {(wallet, back) for _, wallet, back in self._reversals(args)}
        if len(reversals) < len(self._reversals(args)) or reversals & set(self.reversed):
            raise asyncpg.UniqueViolationError("uq_journal_reverses")
        for row in table(args, 14):
            version, *buckets = stands[row[1]]
            before = [after - delta for after, delta in zip(row[10:14], row[6:10], strict=True)]
            if (version + 1, buckets) != (row[2], before):
                raise asyncpg.SerializationError(f"row {row[2]} does not continue wallet {row[1]} at {version}")
            stands[row[1]] = [row[2], *row[10:14]]

    @staticmethod
    def _reversals(args: Sequence[Any]) -> list[tuple[int, int, int]]:
        rows = zip(table(args, 3), numbers(args[16]), strict=True)
        return [(row[2], row[1], back) for row, back in rows if back is not None]

    def book(self, args: Sequence[Any]) -> None:
        rows = zip(table(args, 14), texts(args[14]), texts(args[15]), numbers(args[16]), strict=True)
        for row, round_id, reference, reverses in rows:
            self.journal[row[1], row[2]] = (*row, round_id, reference, reverses)
            self.wallets[row[1]] = [row[2], *row[10:14]]
            if row[11]:
                self.awarded.add(row[1])
            if reverses is not None:
                self.reversed[row[1], reverses] = row[2]

    def guard_keys(self, args: Sequence[Any]) -> None:
        keys = key_rows(args)
        if len(set(keys)) < len(keys) or any(key in self.keys for key in keys):
            raise asyncpg.UniqueViolationError("pk_call_key")

    def keep_keys(self, args: Sequence[Any]) -> None:
        self.keys |= dict(zip(key_rows(args), table(args[3:], 6), strict=True))

    def tell_house(self, args: Sequence[Any]) -> None:
        for _, account, delta in table(args, 3):
            self.house[account] = self.house.get(account, 0) + delta

    def guard_count(self, args: Sequence[Any]) -> None:
        if args[3] in self.batches:
            raise AssertionError(f"batch {args[3]} twice")

    def count(self, args: Sequence[Any]) -> None:
        self.batches.add(args[3])

    def open_holds(self, args: Sequence[Any]) -> None:
        for row, expires_at in zip(table(args, 6), args[6], strict=True):
            self.holds[row[0], row[1], row[2]] = OpenHold(row[2], row[3], row[4], row[5], expires_at)

    def resolve_holds(self, args: Sequence[Any]) -> None:
        for *name, captured, released in table(args, 5):
            hold = self.holds[tuple(name)]
            hold.captured, hold.released = captured, released

    def grant_awards(self, args: Sequence[Any]) -> None:
        self.awards |= {row[:3]: list(row[4:]) for row in table(args, 6)}

    def move_awards(self, args: Sequence[Any]) -> None:
        for row in table(args, 5):
            if row[:3] in self.awards:
                self.awards[row[:3]] = list(row[3:])

    def enter_awards(self, args: Sequence[Any]) -> None:
        for *name, granted, part in table(args, 5):
            self.award_entries.setdefault(tuple(name), {})[granted] = part

    def add_usage(self, args: Sequence[Any]) -> None:
        days = [date.fromisoformat(day) for day in texts(args[4])]
        for window, day, used in zip(table(args, 4), days, numbers(args[5]), strict=True):
            self.usage[*window, day] = self.usage.get((*window, day), 0) + (used or 0)

    def guard_open_rounds(self, args: Sequence[Any]) -> None:
        opened = round_names(WritePart(rounds_store._OPEN, args))
        if len(set(opened)) < len(opened) or any(name in self.rounds for name in opened):
            raise asyncpg.UniqueViolationError("pk_round")

    def open_rounds(self, args: Sequence[Any]) -> None:
        named = zip(texts(args[16]), texts(args[17]), texts(args[19]), strict=True)
        for row, (round_id, session, pool) in zip(table(args, 16), named, strict=True):
            stored = dict(zip(_ROUND_OPEN, row[3:15], strict=True))
            self.rounds[row[0], round_id, row[1]] = stored | {"session": session or None, "jackpot_pool": pool}

    def guard_continue_rounds(self, args: Sequence[Any]) -> None:
        for row, round_id in zip(table(args, 13), texts(args[13]), strict=True):
            found = self.rounds.get((row[0], round_id, row[1]))
            if found is None or (found["last_version"], found["state"]) != row[11:13]:
                raise asyncpg.SerializationError("overtaken")

    def continue_rounds(self, args: Sequence[Any]) -> None:
        for row, round_id in zip(table(args, 13), texts(args[13]), strict=True):
            self.rounds[row[0], round_id, row[1]] |= dict(zip(_ROUND_CONTINUE, row[2:11], strict=True))

    # What others do meanwhile: all of it takes the wallet's next version.

    def change_terms(self, wallet: int, change: Callable[[Model], None]) -> None:
        """Book the row that moves nothing; `change` is what becomes of the model."""
        version, *buckets = self.wallets[wallet]
        self.wallets[wallet][0] = version + 1
        row = (TENANT, wallet, version + 1, Op.TERMS, 0, 0, 0, 0, 0, 0, *buckets, "", "", None)
        self.journal[wallet, version + 1] = row
        self.log[self.moment()].append(Entry(change=change))

    def set_blocked(self, wallet: int, *, blocked: bool) -> None:
        if blocked != (wallet in self.blocked):
            self.blocked ^= {wallet}
            self.change_terms(wallet, lambda model: model.set_active(wallet, active=not blocked))

    def set_limit(self, wallet: int, kind: LimitKind, amount_minor: int | None) -> None:
        """Set or remove a limit of a day; what was used before it counts from the journal."""
        if amount_minor is None and kind not in self.limits.get(wallet, {}):
            return
        if amount_minor is None:
            del self.limits[wallet][kind]
        else:
            ops, sign = _USES_UP[kind]
            used = sum(row[6] + row[7] - row[9] for row in self.journal.values() if row[1] == wallet and row[3] in ops)
            self.limits.setdefault(wallet, {})[kind] = amount_minor
            self.limited.add(wallet)
            self.usage[TENANT, wallet, kind, Period.DAY, utc_now().date()] = sign * used
        self.change_terms(wallet, lambda model: model.set_limit(wallet, kind.name.lower(), amount_minor))

    def set_excluded(self, wallet: int, *, excluded: bool) -> None:
        self.excluded = self.excluded | {wallet} if excluded else self.excluded - {wallet}
        self.change_terms(wallet, lambda model: model.set_excluded(wallet, excluded=excluded))

    def switch_off(self, game: str) -> None:
        """Take a game out of play; no wallet moves with it."""
        self.games[game] = (False, 1)
        self.log[self.moment()].append(Entry(change=lambda model: model.games.discard(game)))

    def pass_time(self, by_us: int) -> None:
        """Let the clock go on; no wallet moves with it."""
        self.now_us += by_us
        now_us = self.now_us
        self.log[self.moment()].append(Entry(change=lambda model: setattr(model, "now_us", now_us)))

    def end_award(self, wallet: int, reference: str) -> None:
        """End an award before its time."""
        self.terms[TENANT, wallet, reference] = (self.terms[TENANT, wallet, reference][0], 0)
        self.change_terms(wallet, lambda model: model.end_award(wallet, reference))

    def fail_session(self, session: str) -> None:
        wallet = self.sessions.pop(session, None)
        if wallet is not None:
            self.change_terms(wallet, lambda model: model.fail_session(wallet, session))


def round_names(part: WritePart) -> list[tuple[int, str, int]]:
    """Return the (tenant, round, wallet) that a part writes."""
    if part.sql not in {rounds_store._OPEN, rounds_store._CONTINUE}:
        return []
    ids = texts(part.args[16 if part.sql == rounds_store._OPEN else 13])
    return [(row[0], round_id, row[1]) for row, round_id in zip(table(part.args, 2), ids, strict=True)]


_ROUND_OPEN = (
    "first_version",
    "last_version",
    "bet_real",
    "bet_bonus",
    "win_minor",
    "jackpot_minor",
    "balance_before",
    "balance_after",
    "bets",
    "mode",
    "state",
    "version_id",
)
_ROUND_CONTINUE = (
    "last_version",
    "bet_real",
    "bet_bonus",
    "win_minor",
    "jackpot_minor",
    "balance_after",
    "bets",
    "mode",
    "state",
)
_ROUND_READ = (*_ROUND_OPEN, "session")
_READS: dict[str, Callable[[MemoryLedger, Sequence[Any]], Any]] = {
    posting.NEXT_BLOCK.sql: MemoryLedger.next_block,
    posting._READ_WALLETS: MemoryLedger.read_wallets,
    posting._READ_KEYS: MemoryLedger.read_keys,
    posting._READ_HOLDS: MemoryLedger.read_holds,
    posting._READ_AWARDS: MemoryLedger.read_awards,
    posting._READ_AWARD_ENTRIES: MemoryLedger.read_award_entries,
    posting._READ_TIMES: MemoryLedger.read_times,
    posting._READ_USAGE: MemoryLedger.read_usage,
    bonus_store._READ: MemoryLedger.read_terms,
    limits_store._READ: MemoryLedger.read_limits,
    rounds_store._READ_SESSIONS: MemoryLedger.read_sessions,
    rounds_store._READ_GAMES: MemoryLedger.read_games,
    rounds_store._READ_ROUNDS: MemoryLedger.read_rounds,
}
_CHECKS: dict[str, Callable[[MemoryLedger, Sequence[Any]], bool]] = {
    posting._STILL_STANDS: MemoryLedger.still_stands,
    posting._STILL_NEW: MemoryLedger.are_new_keys,
    posting._NOT_ENDED: MemoryLedger.has_not_ended,
    rounds_store._GAMES_STAND: MemoryLedger.games_stand,
    rounds_store._STILL_AS_SEEN: MemoryLedger.are_as_seen,
}
_GUARDS: dict[str, Callable[[MemoryLedger, Sequence[Any]], None]] = {
    posting._BOOK: MemoryLedger.guard_book,
    posting._KEEP_KEYS: MemoryLedger.guard_keys,
    posting._COUNT: MemoryLedger.guard_count,
    rounds_store._OPEN: MemoryLedger.guard_open_rounds,
    rounds_store._CONTINUE: MemoryLedger.guard_continue_rounds,
}
_WRITES: dict[str, Callable[[MemoryLedger, Sequence[Any]], None]] = {
    posting._BOOK: MemoryLedger.book,
    posting._KEEP_KEYS: MemoryLedger.keep_keys,
    posting._TELL_HOUSE: MemoryLedger.tell_house,
    posting._COUNT: MemoryLedger.count,
    posting._NEW_HOLDS: MemoryLedger.open_holds,
    posting._RESOLVE_HOLDS: MemoryLedger.resolve_holds,
    posting._NEW_AWARDS: MemoryLedger.grant_awards,
    posting._MOVE_AWARDS: MemoryLedger.move_awards,
    posting._NEW_AWARD_ENTRIES: MemoryLedger.enter_awards,
    posting._ADD_USAGE: MemoryLedger.add_usage,
    rounds_store._OPEN: MemoryLedger.open_rounds,
    rounds_store._CONTINUE: MemoryLedger.continue_rounds,
}
