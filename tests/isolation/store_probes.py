"""What stands in Redis and in the logs when both tenants have lived: nothing of B's under A's name, or nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, cast

import msgspec
import redis
from tests.isolation.probes import Report
from tests.isolation.world import World

from pitboss.kernel.scope import TenantScope
from pitboss.platform.redis import CellRedis
from pitboss.platform.telemetry import FieldGuard, Metrics

ROOMS = ("accounts", "ledger", "games", "hosting", "platform", "plughost")


def probe_redis_keys(a: TenantScope, b: TenantScope, url: str, report: Report) -> None:
    """Build keys as A from parts that look like B's; none may be B's, the cell's, or begin with another tenant."""
    keys = CellRedis(url, a.cell)
    parts = ("x", b.slug, f"{b.slug}:accounts", f":{b.slug}", "-", "-:platform", "..", "*", "{x}", "", "\n", "ü", ":")
    same_cell = a.cell == b.cell
    for room, first, second in product((*ROOMS, b.slug, f"{b.slug}:accounts", ""), parts, parts):
        mine = _build(keys, a, room, first, second)
        others = {_build(keys, b, room, first, second) if same_cell else "", _build(keys, None, room, first, second)}
        wrong = ""
        if mine and (not mine.startswith(f"{a.cell}:{a.slug}:") or mine.count(":") != 4 or mine in others):
            wrong = f"made {mine!r}"
        report.count(f"Redis key of {room!r} {first!r} {second!r}", wrong)
    for room in ROOMS:
        refused = not _build(keys, msgspec.structs.replace(a, cell="br-9"), room, "x", "y")
        report.count(f"Redis key of another cell, {room}", "" if refused else "was made")


def _build(keys: CellRedis, scope: Any, room: str, *parts: str) -> str:
    try:
        return keys.cell_key(room, *parts) if scope is None else keys.key(scope, room, *parts)
    except Exception:  # noqa: BLE001 - however it is refused, there is no key
        return ""


def probe_redis_content(world: World, url: str, report: Report) -> None:
    """Read all of Redis: each key names its cell and then a tenant, the cell or the broker; B's marks are B's alone."""
    cells = {world.a.scope.cell, world.b.scope.cell}
    slugs = {world.a.scope.slug, world.b.scope.slug}
    with redis.Redis.from_url(url) as client:
        for key, content in _dump(cast("Any", client)):
            cell, _, rest = key.partition(":")
            owner = rest.partition(":")[0].partition(".")[0]
            wrong = ""
            if cell not in cells or owner not in {*slugs, "-", "jobs"}:
                wrong = "names no cell and owner"
            elif owner != world.b.scope.slug:
                shown = [mark for mark in world.b.marks if mark in key or mark in content]
                wrong = f"holds {shown[0]}" if shown else ""
            report.count(f"Redis {key}", wrong)


def _dump(client: Any) -> Iterator[tuple[str, str]]:
    read = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "stream": client.xrange,
    }
    for key in sorted(client.scan_iter()):
        yield key.decode(), str(read[client.type(key).decode()](key))


def probe_logs(marks: Sequence[str], lines: Sequence[Mapping[str, Any]], report: Report) -> None:
    """Write each line as a process does; none may hold a mark of anybody's."""
    guard = FieldGuard("probe", Metrics())
    for line in lines:
        written = msgspec.json.encode(guard(None, str(line.get("log_level")), line)).decode()
        shown = [mark for mark in marks if mark in written]
        report.count(f"log {line.get('event')}", f"holds {shown[0]}" if shown else "")
