"""What was sent and what came back: counts, times, differences, as a live line and as a summary."""

from __future__ import annotations

import sys
import time
from collections import Counter

import msgspec

_LIVE_SECONDS = 1.0
_LOG_SECONDS = 10.0
_MAX_DIFFERENCES = 100


class Summary(msgspec.Struct, frozen=True):
    """The result of a run; times in milliseconds. `calls` counts each sending, retries and duplicates too."""

    seconds: float
    players: int
    rounds: int
    calls: int
    calls_per_second: float
    p50_ms: float
    p99_ms: float
    outcomes: dict[str, int]
    retries: int
    duplicates: int
    duplicates_equal: int
    replays: int
    bad_signatures: int
    notices: int
    rounds_compared: int
    balances_compared: int
    mismatches: int
    differences: list[str]


class Times:
    """Times of calls in buckets of two digits, so that a run of weeks needs no more room than one of seconds."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one call."""
        micros = max(1, int(seconds * 1_000_000))
        step = 10 ** max(0, len(str(micros)) - 2)
        self._buckets[micros // step * step] += 1

    def quantile_ms(self, share: float) -> float:
        """Return the time that `share` of the calls did not exceed."""
        total, seen = self._buckets.total(), 0
        for micros, count in sorted(self._buckets.items()):
            seen += count
            if seen >= share * total:
                return micros / 1000
        return 0.0


class Tally:
    """Counts of one run, and the line that shows them while it goes on."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.differences: list[str] = []
        self._times = Times()
        self._recent = Times()
        self._recent_calls = 0
        self._began = self._shown_at = time.monotonic()
        self._live = sys.stderr.isatty()

    def add_call(self, outcome: str, seconds: float) -> None:
        """Count one call that was sent, by what came back."""
        self.counts["calls"] += 1
        self.outcomes[outcome] += 1
        self._recent_calls += 1
        self._times.add(seconds)
        self._recent.add(seconds)

    def add_difference(self, text: str) -> None:
        """Print and count something that must not be."""
        self.counts["mismatches"] += 1
        if len(self.differences) < _MAX_DIFFERENCES:
            self.differences.append(text)
        self._print(f"MISMATCH {text}", end="\n")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._print(text, end="\n")

    def show(self) -> None:
        """Print the live line when its time has come: each second on a terminal, each ten into a log."""
        now = time.monotonic()
        passed = now - self._shown_at
        if passed < (_LIVE_SECONDS if self._live else _LOG_SECONDS):
            return
        outcomes = "  ".join(f"{name} {count}" for name, count in self.outcomes.most_common(6))
        self._print(
            f"{now - self._began:.0f} s  {self._recent_calls / passed:.0f} calls/s"
            f"  p50 {self._recent.quantile_ms(0.5):.1f} ms  p99 {self._recent.quantile_ms(0.99):.1f} ms"
            f"  [{outcomes}]  retries {self.counts['retries']}"
            f"  duplicates {self.counts['duplicates_equal']}/{self.counts['duplicates']} equal"
            f"  mismatches {self.counts['mismatches']}",
            end="\r" if self._live else "\n",
        )
        self._recent, self._recent_calls, self._shown_at = Times(), 0, now

    def summarise(self) -> Summary:
        """Return the result so far."""
        seconds = max(time.monotonic() - self._began, 0.001)
        count = self.counts
        return Summary(
            seconds=round(seconds, 3),
            players=count["players"],
            rounds=count["rounds"],
            calls=count["calls"],
            calls_per_second=round(count["calls"] / seconds, 1),
            p50_ms=self._times.quantile_ms(0.5),
            p99_ms=self._times.quantile_ms(0.99),
            outcomes=dict(self.outcomes.most_common()),
            retries=count["retries"],
            duplicates=count["duplicates"],
            duplicates_equal=count["duplicates_equal"],
            replays=count["replays"],
            bad_signatures=count["bad_signatures"],
            notices=count["notices"],
            rounds_compared=count["rounds_compared"],
            balances_compared=count["balances_compared"],
            mismatches=count["mismatches"],
            differences=self.differences,
        )

    def _print(self, text: str, end: str) -> None:
        clear = "\x1b[2K" if self._live else ""
        sys.stderr.write(f"{clear}{text}{end}")
        sys.stderr.flush()
