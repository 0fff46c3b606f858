"""The embedded servers: durable, walled, recovered after a kill, clear about what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from pitboss.platform.embedded import PostgresServer, RedisServer, ServerFailed
from pitboss.platform.processes import FolderLocked, PortBusy, processes_in, wait_until


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own OS user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="pitboss-embedded-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(open_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(open_folder / "postgres")
    server.start()
    yield server
    server.remove()


def _ask(server: PostgresServer, *statements: str) -> Any:
    """Run the statements and return the first value of the last."""

    async def run() -> Any:
        connection = await asyncpg.connect(server.admin_url())
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(run())


async def _connect(url: str) -> None:
    await (await asyncpg.connect(url)).close()


def test_durability_and_checksums_are_on(server: PostgresServer) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert _ask(server, f"show {name}") == "on", name
    assert _ask(server, "show server_version_num") >= "180000"
    assert _ask(server, "show listen_addresses") == "127.0.0.1"


def test_every_way_in_asks_for_the_password(server: PostgresServer) -> None:
    methods = _ask(server, "select string_agg(distinct auth_method, ',') from pg_hba_file_rules")
    assert methods == "scram-sha-256"
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(_connect(server.admin_url().replace("demo-", "wrong-")))
    password_file = server.directory / "password"
    assert password_file.stat().st_mode & 0o777 == 0o600


def test_committed_rows_survive_a_kill(server: PostgresServer) -> None:
    _ask(server, "create table kept (n int)", "insert into kept select generate_series(1, 1000)")
    data = server.data
    server.kill()
    assert processes_in(data) == []
    server.start()
    assert _ask(server, "select count(*) from kept") == 1000


def test_killed_postmaster_with_living_children_is_recovered(server: PostgresServer) -> None:
    _ask(server, "create table kept (n int)", "insert into kept values (1)")
    assert server.pid is not None
    os.kill(server.pid, 9)
    assert wait_until(lambda: server.pid is None, 60)
    server.stop()
    server.start()
    assert _ask(server, "select count(*) from kept") == 1


OWNER = """
import sys, time
from pathlib import Path
from pitboss.platform.embedded import PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal")
def test_server_stops_when_its_owner_is_killed(server: PostgresServer) -> None:
    server.stop()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(server.directory)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert int(owner.stdout.readline()) in processes_in(server.data)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert wait_until(lambda: not processes_in(server.data), 60)
    server.start()
    assert _ask(server, "select 1") == 1


def test_folder_serves_one_owner(server: PostgresServer) -> None:
    with pytest.raises(FolderLocked, match=str(os.getpid())):
        PostgresServer(server.directory).start()


def test_busy_port_is_named(open_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for busy in (PostgresServer(open_folder / "postgres", port), RedisServer(open_folder / "redis", port)):
            with pytest.raises(PortBusy, match=str(port)):
                busy.start()
            busy.remove()


def test_data_of_another_version_are_refused(server: PostgresServer) -> None:
    server.stop()
    version = server.data / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(ServerFailed, match=r"PostgreSQL 17, this is 18.*pitboss reset"):
        server.start()


def test_refused_start_shows_the_log(open_folder: Path) -> None:
    server = PostgresServer(open_folder / "postgres", options={"no_such_setting": "1"})
    try:
        with pytest.raises(ServerFailed, match="no_such_setting"):
            server.start()
    finally:
        server.remove()


def test_lost_password_is_explained(server: PostgresServer) -> None:
    server.stop()
    (server.directory / "password").unlink()
    with pytest.raises(ServerFailed, match=r"password of the data .* is gone"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the server a user of its own")
def test_root_below_a_closed_folder_keeps_it_closed(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "postgres")
    try:
        server.start()
        assert _ask(server, "select 1") == 1
        assert closed.stat().st_mode & 0o777 == 0o700
        assert closed not in server.data.parents
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        place = server.place
    finally:
        server.remove()
    assert not place.exists()


def test_redis_asks_for_the_password_and_hides_it(open_folder: Path) -> None:
    server = RedisServer(open_folder / "redis")
    server.start()
    try:
        with redis.Redis.from_url(server.url()) as client:
            assert client.ping()
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        password = server.url().split(":")[2].split("@")[0]
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert password.encode() not in arguments
        server.kill()
        assert server.pid is None
        server.start()
        with redis.Redis.from_url(server.url()) as client:
            assert client.ping()
    finally:
        server.remove()
