"""Queries read so that they can be held against the metrics that exist: names, labels, values, and what an alert says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser as promql
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

TARGET_LABELS = frozenset({"job", "instance", "cell"})
"""What prometheus.yml, or Prometheus by itself, gives to every sample."""
OUTSIDE: Mapping[str, frozenset[str]] = {
    "up": frozenset(),
    "node_filesystem_avail_bytes": frozenset({"mountpoint", "fstype", "device"}),
    "node_filesystem_size_bytes": frozenset({"mountpoint", "fstype", "device"}),
}
"""Metrics that no process of ours tells: Prometheus' own, and those of node_exporter."""

_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)


def list_metrics(reference: str) -> dict[str, frozenset[str]]:
    """Return every series that can be asked for, with its labels, from the generated page of metrics."""
    known = {name: labels | TARGET_LABELS for name, labels in OUTSIDE.items()}
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for family in registry.collect():
        known |= {sample.name: TARGET_LABELS for sample in family.samples}
    for name, kind, cells in _ROW.findall(reference):
        labels = frozenset(re.findall(r"`(\w+)`", cells)) | TARGET_LABELS
        if kind == "histogram":
            known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            known[name] = labels
    return known


def find_faults(query: str, known: Mapping[str, frozenset[str]], words: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with a query: its syntax, a metric or label that is not there, a value nobody writes."""
    try:
        tree: Any = promql.parse(query)
    except ValueError as error:
        yield f"{query!r} is no PromQL: {error}"
        return
    for selector in _list_selectors(tree):
        labels = known.get(selector.name)
        if labels is None:
            yield f"no metric {selector.name}"
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                yield f"{selector.name} has no label {matcher.name}"
            for value in matcher.value.split("|"):
                is_ours = selector.name.startswith("pitboss_") and re.fullmatch(r"[a-z_.-]+", value)
                if is_ours and value not in words:
                    yield f"nobody writes {matcher.name}={value!r}"
    yield from _find_bad_groups(tree, known)


def list_labels(tree: Any, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the labels that a query's result is sure to have."""
    match tree:
        case promql.VectorSelector():
            return known.get(str(tree.name), frozenset())
        case promql.MatrixSelector():
            return list_labels(tree.vector_selector, known)
        case promql.AggregateExpr():
            named = frozenset(tree.modifier.labels) if tree.modifier else frozenset[str]()
            return named & list_labels(tree.expr, known)
        case promql.Call():
            return frozenset[str]().union(*(list_labels(argument, known) for argument in tree.args))
        case promql.BinaryExpr():
            sides = [list_labels(tree.lhs, known), list_labels(tree.rhs, known)]
            if str(tree.op) == "or":
                return sides[0] & sides[1]
            return sides[0] or sides[1]
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return list_labels(tree.expr, known)
        case _:
            return frozenset()


def find_unsaid(query: str, text: str, known: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Yield each label that an alert's text names and its query does not give."""
    given = list_labels(promql.parse(query), known)
    for name in re.findall(r"\$labels\.(\w+)", text):
        if name not in given:
            yield name


def list_words(tree: Path) -> frozenset[str]:
    """Return every quoted word of the application, and the names of the scraped jobs."""
    sources = [*(tree / "core").rglob("*.py"), tree / "deploy" / "observability" / "prometheus.yml"]
    found: set[str] = set()
    for path in sources:
        text = path.read_text()
        found |= set(re.findall(r"[\"']([a-z_.-]+)[\"']", text)) | set(re.findall(r"job_name: (\S+)", text))
    return frozenset(found)


def make_anchor(heading: str) -> str:
    """Return the anchor under which a heading of a page is reached."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _list_selectors(tree: Any) -> list[Any]:
    found: list[Any] = []

    def look(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(tree, look)
    return found


def _find_bad_groups(tree: Any, known: Mapping[str, frozenset[str]]) -> list[str]:
    bad: list[str] = []

    def look(node: Any) -> None:
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            inner = list_labels(node.expr, known)
            bad.extend(f"nothing has label {label} in {node}" for label in node.modifier.labels if label not in inner)

    promql.walk(tree, look)
    return bad
