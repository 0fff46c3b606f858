"""One run: set the stage, warm up, measure all cases in turn round after round, prove the books, tell."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import uvloop
from tests.bench.cases import LANES, Case, CaseFailed, LaneCase, LanePool, Pgbench, Sample
from tests.bench.http_cases import (
    LIMITED,
    MEMORY_CONNECTIONS,
    OPEN,
    PLAIN,
    HttpCase,
    OpenCase,
    Web,
    measure_memory,
    name_case,
)
from tests.bench.load import Calls
from tests.bench.measure import cpu_model, cpu_seconds, fdatasync_us, free_gib
from tests.bench.report import Measured, Outcome, draw, render, write_figures
from tests.bench.row_per_call import CONNECTIONS, RowPerCall
from tests.bench.sealing import SealedCase, Sealer, name_sealed
from tests.bench.stage import ROOT, Seat, Stage, clear

from pitboss.ledger.contracts import Finding
from pitboss.platform.embedded import postgres_version
from pitboss.platform.processes import FolderLock

FOLDER: Final = ROOT / "build" / "bench"
FIGURES: Final = ROOT / "build" / "figures"
HTTP_MEASURED: Final = ((8, PLAIN), (64, PLAIN), (64, LIMITED), (256, PLAIN))
SEALED: Final = (name_case(64, PLAIN), OPEN)
"""Cases that are measured once more while bookings are sealed."""
_HTTP_NAMES: Final = (*[name_case(*each) for each in HTTP_MEASURED], OPEN, *map(name_sealed, SEALED))
BATCHES_MEASURED: Final = (1, 16, 64, 128)
_NEEDED_GIB: Final = 25
NOT_BUILT: Final = {
    "peers (pgledger, tb-perf, hordak, TigerBeetle)": "their programs are no part of the project",
    "after 10 million journal rows": "a run of its own; raise --rounds and --seconds to get there",
}
"""What the definition of the benchmark names and this program does not do."""


class Length(NamedTuple):
    """How long a run measures."""

    mode: str
    rounds: int
    seconds: float
    warm_up_seconds: float
    memory_seconds: float

    @classmethod
    def full(cls) -> Length:
        """Return the length that the definition asks for."""
        return cls("full", 5, 10, 3, 300)

    @classmethod
    def quick(cls) -> Length:
        """Return a length for the time of a coffee."""
        return cls("quick", 2, 2.5, 1, 0)

    def changed(self, seconds: float | None, rounds: int | None) -> Length:
        """Return the same with another length or number of rounds."""
        return self._replace(seconds=seconds or self.seconds, rounds=rounds or self.rounds)


class Session:
    """Everything of one run."""

    def __init__(self, length: Length, only: str | None) -> None:
        self._length = length
        self._only = re.compile(only or "")
        self._began = monotonic()
        self.stage = Stage(FOLDER, self.tell)
        self.measured: dict[str, Measured] = {}
        self.missing: dict[str, str] = dict(NOT_BUILT)
        self._cases: list[Case] = []
        self._pool = LanePool(self.stage)
        self._web: Web | None = None
        self._sealer = Sealer(self.stage)
        self._sealed: list[SealedCase] = []

    def tell(self, line: str) -> None:
        """Say what is going on, with the seconds since the start."""
        print(f"{monotonic() - self._began:6.1f} s  {line}", flush=True)

    async def run(self, *, memory_only: bool) -> Outcome:
        """Measure; the servers run already."""
        facts = {**machine_facts(self.stage.folder), "load_average_start": round(os.getloadavg()[0], 2)}
        await self.stage.furnish()
        growth: float | None = None
        try:
            sizes = await self._measure_cases(memory_only=memory_only)
            if self._length.memory_seconds and self._web is not None:
                growth = await self._measure_memory(self._web)
            elif not self._length.memory_seconds:
                self.missing["memory of the web process over five minutes"] = "not in the quick run"
        finally:
            for case in self._cases:
                await case.close()
            if self._web is not None:
                await self._web.close()
            await self._pool.close()
        self.tell("verifying the ledger of every tenant")
        findings = await self.stage.verify()
        if any(case.shares for case in self._sealed):
            facts |= tell_sealing(self._sealer, self._sealed, self.measured)
        return Outcome(self._length.mode, facts, self.measured, self.missing, sizes, growth, findings)

    async def _measure_cases(self, *, memory_only: bool) -> dict[str, float]:
        if memory_only:
            await self._start_web()
            return {}
        self.tell("filling the tables of pgbench")
        pgbench = Pgbench(self.stage)
        await pgbench.prepare()
        self._pool.start()
        self._cases = [pgbench, *await self._make_cases()]
        self.tell(f"warming up {len(self._cases)} cases")
        sizes_before = await self.stage.measure_sizes()
        for case in list(self._cases):
            await self._measure(case, self._length.warm_up_seconds, keep=False)
        await self.stage.administer("analyze")
        await self.stage.administer("checkpoint")
        for number in range(self._length.rounds):
            self.tell(f"round {number + 1} of {self._length.rounds}")
            # Another case begins each round, so that none always comes after the same one.
            start = number % len(self._cases)
            for case in [*self._cases[start:], *self._cases[:start]]:
                await self._measure(case, self._length.seconds, keep=True)
        sizes_after = await self.stage.measure_sizes()
        calls = sum(each.all_calls for each in self.measured.values() if each.name != "pgbench")
        return {name: (sizes_after[name] - sizes_before[name]) / calls for name in sizes_after} if calls else {}

    async def _make_cases(self) -> list[Case]:
        stage, pool = self.stage, self._pool
        parts = [part_of(stage.seats, lane) for lane in range(LANES)]

        def calls(seed: int, seats: Sequence[Sequence[Seat]] = parts, **options: bool) -> list[Calls]:
            return [Calls(each, stage.books, seed * 100 + lane, **options) for lane, each in enumerate(seats)]

        first_tenant = min(stage.books)
        of_one_tenant = [[seat for seat in part if seat.tenant_id == first_tenant] for part in parts]
        cases: list[Case] = [
            RowPerCall(stage, [Calls(stage.row_seats, stage.books, 1000 + number) for number in range(CONNECTIONS)])
        ]
        cases += [
            LaneCase(f"ledger_{size}", f"posting in process, batch {size}", pool, calls(size), size)
            for size in BATCHES_MEASURED
        ]
        cases += [
            LaneCase("ledger_prebuilt_64", "… 64, requests built beforehand", pool, calls(201), 64, built_before=True),
            LaneCase("ledger_rounds_64", "… 64, with rounds and sessions", pool, calls(202, with_rounds=True), 64),
            LaneCase(
                "ledger_limited_64",
                "… 64, the same, players with limits and awards",
                pool,
                calls(205, [part_of(stage.limited_seats, lane) for lane in range(LANES)], with_rounds=True),
                64,
            ),
            LaneCase("ledger_hot_64", "… 64, one tenant, one house account", pool, calls(203, of_one_tenant), 64),
            LaneCase(
                "ledger_spread_64",
                "… 64, one tenant, 64 house accounts",
                pool,
                calls(204, of_one_tenant, spread_accounts=True),
                64,
            ),
        ]
        one_wallet = [Calls(parts[0][:1], stage.books, 20_500)]
        cases.append(LaneCase("ledger_one_wallet_64", "… 64, one lane, all on one wallet", pool, one_wallet, 64))
        wanted = [case for case in cases if self._only.search(case.name)]
        return wanted + await self._make_http_cases()

    async def _make_http_cases(self) -> list[Case]:
        """Return the cases over HTTP that are wanted; those while bookings are sealed bring their like without."""
        wanted = [name for name in _HTTP_NAMES if self._only.search(name)]
        if not wanted:
            return []
        try:
            web = await self._start_web()
        except CaseFailed as failed:
            self.missing.update(dict.fromkeys(wanted, str(failed)))
            return []
        plain: list[Case] = [*[HttpCase(web, *each) for each in HTTP_MEASURED], OpenCase(web)]
        sealed = [SealedCase(self._sealer, case) for case in plain if case.name in SEALED]
        self._sealed = [case for case in sealed if case.name in wanted]
        beside = {case.plain.name for case in self._sealed}
        return [*[case for case in plain if case.name in beside or case.name in wanted], *self._sealed]

    async def _start_web(self) -> Web:
        self.tell("starting the web process and the generator")
        self._web = Web(self.stage)
        await self._web.start()
        return self._web

    async def _measure(self, case: Case, seconds: float, *, keep: bool) -> None:
        postmaster = self.stage.postgres.pid or 0
        cpu_before = cpu_seconds(postmaster, with_children=True)
        measured = self.measured.setdefault(case.name, Measured(case.name, case.title))
        try:
            sample: Sample = await case.run(seconds)
        except Exception as failed:  # noqa: BLE001 - whatever it is, the other cases are still worth having
            self.missing[case.name] = str(failed) if isinstance(failed, CaseFailed) else repr(failed)
            self.tell(f"{case.name}: {self.missing[case.name]}")
            self.measured.pop(case.name)
            self._cases = [each for each in self._cases if each is not case]
            await case.close()
            return
        server_cpu = cpu_seconds(postmaster, with_children=True) - cpu_before
        measured.add(sample, server_cpu, keep=keep)

    async def _measure_memory(self, web: Web) -> float | None:
        self.tell(f"memory of the web process at {MEMORY_CONNECTIONS} connections, {self._length.memory_seconds:.0f} s")
        try:
            seen = await measure_memory(web, self._length.memory_seconds)
        except CaseFailed as failed:
            self.missing["memory of the web process over five minutes"] = str(failed)
            return None
        third = max(1, len(seen) // 10)
        first, last = statistics.median(seen[:third]), statistics.median(seen[-third:])
        self.tell(f"{first:.0f} MiB at the start, {last:.0f} MiB at the end, most {max(seen):.0f} MiB")
        return (last / first - 1) * 100


def tell_sealing(sealer: Sealer, cases: Sequence[SealedCase], measured: dict[str, Measured]) -> dict[str, float]:
    """Return what sealing costs a call, round by round beside the same without, and how fast it is alone."""
    shares = [share for case in cases for share in case.shares]
    found: dict[str, float] = {"sealed_in_its_round_least": round(min(shares), 3)}
    if sealer.caught_up:
        entries = sealer.caught_up["entries"]
        found["sealed_per_second"] = round(entries / sealer.caught_up["seconds"])
        found["sealing_cpu_us_per_booking"] = round(sealer.caught_up["cpu"] / entries * 1e6, 1)
        found["sealing_server_us_per_booking"] = round(sealer.caught_up["server_cpu"] / entries * 1e6, 1)
    for case in cases:
        plain, sealed = measured.get(case.plain.name), measured.get(case.name)
        if plain is None or sealed is None or not plain.samples or not sealed.samples:
            continue
        pairs = list(zip(plain.samples, sealed.samples, strict=False))
        added = statistics.median([(after.p99_ms or 0) - (before.p99_ms or 0) for before, after in pairs])
        if case.plain.name == OPEN:
            found["sealing_adds_p99_ms"] = round(added, 3)
            continue
        found["sealing_adds_p99_ms_saturated"] = round(added, 3)
        lost = [(1 - after.rate / before.rate) * 100 for before, after in pairs]
        found["sealing_takes_percent"] = round(statistics.median(lost), 1)
    return found


def part_of(seats: Sequence[Seat], lane: int) -> list[Seat]:
    """Return the wallets of one lane, parted as a web process with so many lanes would."""
    return [seat for seat in seats if (seat.tenant_id * 1_000_003 + seat.wallet_id) % LANES == lane]


def machine_facts(folder: Path) -> dict[str, str | float]:
    """Return what a reader needs to know of the machine."""
    return {
        "cpu_model": cpu_model(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgres": postgres_version(),
        "fdatasync_us": fdatasync_us(folder),
    }


def run_session(length: Length, only: str | None, *, memory_only: bool = False) -> int:
    """Run, print, write figures and picture; return the exit code."""
    FOLDER.parent.mkdir(exist_ok=True)
    lock = FolderLock(FOLDER.with_suffix(".lock"))
    lock.acquire()
    clear(FOLDER)
    session = Session(length, only)
    room = free_gib(FOLDER.parent)
    if room < _NEEDED_GIB:
        session.tell(f"only {room:.0f} GiB are free, a full run may need {_NEEDED_GIB}")
    try:
        session.stage.open()
        outcome = uvloop.run(session.run(memory_only=memory_only))
    finally:
        session.stage.close()
        lock.release()
    print(render(outcome))
    write_figures(outcome, FIGURES, keep_others=memory_only or only is not None)
    draw(outcome, FIGURES)
    return judge(outcome.findings, outcome.missing)


def judge(findings: Sequence[Finding], missing: dict[str, str]) -> int:
    """Return 1 when the books do not add up or a case was answered wrongly."""
    for finding in findings:
        print(
            f"FOUND  tenant {finding.tenant_id}, {finding.check}: {finding.subject}: {finding.detail}", file=sys.stderr
        )
    failed = [name for name in missing if name not in NOT_BUILT and "quick" not in missing[name]]
    return 1 if findings or failed else 0
