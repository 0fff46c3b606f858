"""Looking for strings in everything that a plane keeps: every column of its database, its dump, its Redis, its files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import asyncpg
import redis
from tests.residency.world import World

from pitboss.platform.embedded import wheel_binaries

Marks = Mapping[str, str]
"""What each string stands for → the string; each is in nobody else's data."""

_RELATIONS = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm', 'p') and not c.relisshared order by 1
"""
_COLUMNS = """
select format('%I', attname) from pg_attribute
where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum
"""


@dataclass(frozen=True, order=True)
class Find:
    """Where a string was found."""

    place: str
    mark: str


def search(place: str, content: bytes, marks: Marks) -> Iterator[Find]:
    """Yield the marks in `content`, plain or as PostgreSQL writes bytes."""
    lowered = content.lower()
    for mark, text in marks.items():
        plain = text.encode().lower()
        if plain in lowered or plain.hex().encode() in lowered or text.encode().hex().encode() in lowered:
            yield Find(place, mark)


async def sweep_database(url: str, marks: Marks) -> list[Find]:
    """Look into every column of every relation, catalogs and statistics too, from the catalog itself."""
    connection = await asyncpg.connect(url)
    finds: list[Find] = []
    looked = 0
    try:
        for (relation,) in await connection.fetch(_RELATIONS):
            for (column,) in await connection.fetch(_COLUMNS, relation):
                # Names are quoted by the server itself. One statement a column: the find names it.
                rows = await connection.fetch(f"select {column}::text from {relation} where {column} is not null")
                looked += 1
                content = "\n".join(row[0] for row in rows).encode()
                finds += search(f"{relation}.{column}", content, marks)
        others = "select query from pg_stat_activity where datname = current_database()"
        content = "\n".join(row[0] for row in await connection.fetch(others)).encode()
        finds += search("pg_stat_activity", content, marks)
    finally:
        await connection.close()
    assert looked > 500, "the catalogs alone have more columns"
    return finds


def sweep_dump(url: str, marks: Marks) -> list[Find]:
    """Look into a dump, made by the server's own tool."""
    dump = subprocess.run([str(wheel_binaries() / "pg_dump"), url], check=True, capture_output=True, timeout=120).stdout
    assert b"PostgreSQL database dump complete" in dump
    return list(search("dump", dump, marks))


def sweep_redis(url: str, marks: Marks) -> list[Find]:
    """Look into every key and value."""
    finds: list[Find] = []
    with redis.Redis.from_url(url) as client:
        keys = [bytes(key) for key in client.scan_iter()]
        assert keys
        for key in keys:
            kind = cast("bytes", client.type(key)).decode()
            read = {
                "string": lambda key=key: client.get(key),
                "hash": lambda key=key: client.hgetall(key),
                "list": lambda key=key: client.lrange(key, 0, -1),
                "set": lambda key=key: client.smembers(key),
                "zset": lambda key=key: client.zrange(key, 0, -1, withscores=True),
            }[kind]
            finds += search(f"redis {key.decode()}", key + b"\n" + _flat(read()), marks)
    return finds


def _flat(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"\n".join(_flat(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return b"\n".join(map(_flat, value))
    return repr(value).encode()


def sweep_files(files: Iterable[Path], marks: Marks) -> list[Find]:
    """Look into files and their names."""
    finds: list[Find] = []
    for file in files:
        finds += search(str(file), str(file).encode() + b"\n" + file.read_bytes(), marks)
    return finds


def list_logs(world: World) -> list[Path]:
    """Return every log: the processes', the servers' and what the run printed."""
    logs = [*world.state.logs.glob("*"), world.state.postgres / "server.log", world.run.output]
    logs += world.state.redis.glob("*/server.log")
    return [log for log in logs if log.is_file()]


def list_kept_files(world: World) -> list[Path]:
    """Return every file of the run but logs and the servers' data."""
    logs = set(list_logs(world))
    servers = (world.state.postgres, world.state.redis)
    return [
        path
        for path in world.state.folder.rglob("*")
        if path.is_file() and path not in logs and not any(server in path.parents for server in servers)
    ]


async def sweep_plane(world: World, place: str, marks: Marks) -> list[Find]:
    """Look into a plane's database, dump and Redis."""
    finds = await sweep_database(world.admin_url(place), marks)
    finds += sweep_dump(world.admin_url(place), marks)
    if place != "control":
        finds += sweep_redis(world.redis_url(place), marks)
    return finds
