"""What a run tells: the table, the file of flat figures, and the picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench.cases import Sample
from tests.bench.measure import Spread, spread

from pitboss.ledger.contracts import Finding

DENOMINATOR: Final = "pgbench"
LIMITED_PAIRS: Final = (("wallet_http_limited_64", "wallet_http_64"), ("ledger_limited_64", "ledger_rounds_64"))
"""Cases of players with limits and awards, each beside its like without."""
_PER_CALL: Final = ("journal", "journal_indexes", "call_key", "call_key_indexes")
"""What `bytes_per_call` counts; rounds, batches and house deltas stand apart."""
QUIET_LOAD: Final = 0.5
_NOISY: Final = "others used the machine when the run began: trust no figure but CPU and bytes a call"


class Measured:
    """The rounds of one case. Lists hold one entry a round; `all_calls` counts the warm-up too."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.samples: list[Sample] = []
        self.server_us: list[float] = []
        self.all_calls = 0

    def add(self, sample: Sample, server_cpu_seconds: float, *, keep: bool) -> None:
        """Take note of a round, or of the calls alone where it was the warm-up."""
        self.all_calls += sample.calls
        if keep:
            self.samples.append(sample)
            self.server_us.append(server_cpu_seconds / sample.calls * 1e6)

    def ratios(self, other: Measured) -> list[float]:
        """Return this rate over that of `other`, round by round."""
        return [mine.rate / theirs.rate for mine, theirs in zip(self.samples, other.samples, strict=False)]


class Outcome(NamedTuple):
    """All that a run found out. `bytes_grown` is a call's share in the growth of each table and its indexes."""

    mode: str
    facts: dict[str, str | float]
    measured: dict[str, Measured]
    missing: dict[str, str]
    bytes_grown: dict[str, float]
    memory_growth_percent: float | None
    findings: Sequence[Finding]


def render(outcome: Outcome) -> str:
    """Return the text that the run ends with."""
    facts = outcome.facts
    lines = [
        "",
        f"{facts['cpu_model']}, {facts['cores']} cores, Linux {facts['kernel']}, PostgreSQL {facts['postgres']}"
        f" with full durability, Python {facts['python']}",
        f"fdatasync {facts['fdatasync_us']:.0f} µs, load average at the start {facts['load_average_start']}",
        *([_NOISY] if float(facts["load_average_start"]) > QUIET_LOAD else []),
        "",
        *_table(_rows(outcome)),
        "",
    ]
    figures = compute_figures(outcome)
    if "hot_account_per_spread" in figures:
        lines.append(f"one hot house account ÷ 64 spread ones: {figures['hot_account_per_spread']:.3f}")
    for limited, plain in LIMITED_PAIRS:
        if f"{limited}_per_plain" in figures:
            lines.append(f"players with limits and awards: {limited} ÷ {plain}: {figures[f'{limited}_per_plain']:.3f}")
    if outcome.bytes_grown:
        parts = ", ".join(f"{name} {size:.0f}" for name, size in outcome.bytes_grown.items() if size >= 0.5)
        lines.append(f"bytes a call: {figures['bytes_per_call']:.0f} for journal, keys and their indexes ({parts})")
    if outcome.memory_growth_percent is not None:
        lines.append(f"memory of the web process over the run: {outcome.memory_growth_percent:+.1f} %")
    lines += [f"missing: {name}: {why}" for name, why in outcome.missing.items()]
    lines.append(
        f"the books: {len(outcome.findings)} findings"
        if outcome.findings
        else "the books: conserved, replayed, no finding"
    )
    return "\n".join(lines)


def _rows(outcome: Outcome) -> list[tuple[str, ...]]:
    rows = [("case", "calls/s", "÷ pgbench (least–most)", "p50 ms", "p99 ms", "server µs", "web µs", "client µs")]
    denominator = outcome.measured.get(DENOMINATOR)
    for each in outcome.measured.values():
        if not each.samples:
            continue
        ratio = spread(each.ratios(denominator)) if denominator and denominator.samples else None
        rows.append(
            (
                each.title,
                f"{spread([sample.rate for sample in each.samples]).median:,.0f}",
                f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})" if ratio else "–",
                _middle([sample.p50_ms for sample in each.samples if sample.p50_ms is not None], 1),
                _middle([sample.p99_ms for sample in each.samples if sample.p99_ms is not None], 1),
                _middle(each.server_us, 0),
                _middle([value for value in _web_us(each) if value], 0),
                _middle([value for value in _client_us(each) if value], 0),
            )
        )
    return rows


def _middle(values: Sequence[float], digits: int) -> str:
    return f"{spread(values).median:.{digits}f}" if values else "–"


def _web_us(measured: Measured) -> list[float]:
    return [sample.web_cpu_seconds / sample.calls * 1e6 for sample in measured.samples]


def _client_us(measured: Measured) -> list[float]:
    return [sample.client_cpu_seconds / sample.calls * 1e6 for sample in measured.samples]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return lines


def compute_figures(outcome: Outcome) -> dict[str, Any]:
    """Return the flat figures: one name, one number or text; what was not measured has no name."""
    figures: dict[str, Any] = {"mode": outcome.mode, **outcome.facts}
    measured = {name: each for name, each in outcome.measured.items() if each.samples}
    for name, each in measured.items():
        _add_case(figures, name, each, measured.get(DENOMINATOR))
    hot, spread_out = measured.get("ledger_hot_64"), measured.get("ledger_spread_64")
    if hot and spread_out:
        _add_spread(figures, "hot_account_per_spread", spread(hot.ratios(spread_out)))
    for limited, plain in LIMITED_PAIRS:
        if limited in measured and plain in measured:
            _add_spread(figures, f"{limited}_per_plain", spread(measured[limited].ratios(measured[plain])))
    if outcome.bytes_grown:
        figures["bytes_per_call"] = round(sum(outcome.bytes_grown[name] for name in _PER_CALL), 1)
        figures |= {f"bytes_per_call_{name}": round(size, 1) for name, size in outcome.bytes_grown.items()}
    if outcome.memory_growth_percent is not None:
        figures["web_memory_growth_percent_5min"] = round(outcome.memory_growth_percent, 2)
    figures["findings"] = len(outcome.findings)
    figures["missing"] = "; ".join(outcome.missing)
    return figures


def _add_case(figures: dict[str, Any], name: str, each: Measured, denominator: Measured | None) -> None:
    stem, _, number = name.rpartition("_")
    stem, suffix = (stem, f"_{number}") if number.isdigit() else (name, "")
    figures[f"{stem}_calls_per_second{suffix}"] = round(spread([sample.rate for sample in each.samples]).median, 1)
    server = "ledger_server" if stem == "ledger" else f"{stem}_server"
    figures[f"{server}_us_per_call{suffix}"] = round(spread(each.server_us).median, 1)
    if denominator is not None and name != DENOMINATOR:
        _add_spread(figures, f"{stem}_per_pgbench{suffix}", spread(each.ratios(denominator)))
    if stem == "wallet_http":
        figures[f"web_cpu_us_per_call{suffix}"] = round(spread(_web_us(each)).median, 1)
        figures[f"generator_cpu_us_per_call{suffix}"] = round(spread(_client_us(each)).median, 1)
    p50 = [sample.p50_ms for sample in each.samples if sample.p50_ms is not None]
    p99 = [sample.p99_ms for sample in each.samples if sample.p99_ms is not None]
    if p50 and p99:
        short = "wallet" if stem == "wallet_http" else stem
        figures[f"{short}_p50_ms{suffix}"] = round(spread(p50).median, 3)
        figures[f"{short}_p99_ms{suffix}"] = round(spread(p99).median, 3)


def _add_spread(figures: dict[str, Any], name: str, found: Spread) -> None:
    figures[name] = round(found.median, 4)
    figures[f"{name}_least"] = round(found.low, 4)
    figures[f"{name}_most"] = round(found.high, 4)


def write_figures(outcome: Outcome, folder: Path, *, keep_others: bool = False) -> None:
    """Write the figures where `make figures` reads them; a run of a few cases may keep what others measured."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.json"
    before = json.loads(path.read_text()) if keep_others and path.exists() else {}
    path.write_text(json.dumps({**before, **compute_figures(outcome)}, indent=1, ensure_ascii=False) + "\n")


def draw(outcome: Outcome, folder: Path) -> None:
    """Draw throughput and latency against concurrency."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    http = _points(outcome, "wallet_http_")
    batches = _points(outcome, "ledger_")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for points, label in ((http, "signed call over HTTP, by connections"), (batches, "posting in process, by batch")):
        if points:
            left.plot(
                *zip(*[(size, spread([s.rate for s in each.samples]).median) for size, each in points], strict=True),
                "o-",
                label=label,
            )
    denominator = outcome.measured.get(DENOMINATOR)
    if denominator and denominator.samples:
        left.axhline(spread([s.rate for s in denominator.samples]).median, ls="--", color="grey", label="pgbench TPC-B")
    left.set(title="Throughput", ylabel="calls per second", xlabel="concurrency", xscale="log", ylim=(0, None))
    for attribute, label in (("p50_ms", "p50"), ("p99_ms", "p99")):
        if http:
            right.plot(
                *zip(
                    *[(size, spread([getattr(s, attribute) for s in each.samples]).median) for size, each in http],
                    strict=True,
                ),
                "o-",
                label=label,
            )
    right.set(
        title="Latency of a signed call over HTTP", ylabel="ms", xlabel="connections", xscale="log", ylim=(0, None)
    )
    for axes in (left, right):
        ticks = [1, 8, 16, 64, 128, 256]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"throughput.{ending}", dpi=150)
    plt.close(figure)


def _points(outcome: Outcome, stem: str) -> list[tuple[int, Measured]]:
    found = [
        (int(name.removeprefix(stem)), each)
        for name, each in outcome.measured.items()
        if name.startswith(stem) and name.removeprefix(stem).isdigit() and each.samples
    ]
    return sorted(found, key=lambda point: point[0])
