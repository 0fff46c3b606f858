"""Events on their way to SIEMs: all of them, in order, to whom they belong, whatever is dead, forged or killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.factories.audit_logs import Log
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, open_cell
from tests.factories.receivers import Authority, make_authority, receive_https, receive_syslog

from pitboss.audit import service as audit
from pitboss.audit.contracts import Destination
from pitboss.audit.errors import DestinationInvalid, DestinationUnknown
from pitboss.audit.runtime import Exporter
from pitboss.audit.runtime.siem import compute_backoff_seconds
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import Database
from pitboss.platform.embedded import write_private
from pitboss.platform.event_senders import Target
from pitboss.platform.secrets import SecretStore
from pitboss.platform.telemetry import Metrics

BY = Actor(ActorKind.DEPLOYMENT, "shell")


@pytest.fixture
def log(cell_database: PlaneDatabase, tmp_path: Path) -> Log:
    return Log(cell_database, tmp_path, [AURORA, JADE])


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(cell_database) as database:
        yield database


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


class Export:
    """An exporter over a test's database, under the worker's login, with a file of secrets."""

    def __init__(self, database: Database, log: Log, folder: Path) -> None:
        self.metrics = Metrics()
        write_private(folder / "secrets.toml", 'siem_token = "Bearer of-the-test"\n')
        secrets = SecretStore(folder / "secrets.toml")
        self.exporter = Exporter(database, secrets, lambda: log.scopes, self.metrics)

    async def run(self) -> None:
        """Send what is due, to its end."""
        await self.exporter.step()
        await self.exporter.wait_idle()

    def lag_seconds(self, name: str, tenant: str = "aurora") -> float:
        found = self.metrics.registry.get_sample_value(
            "pitboss_siem_lag_seconds", {"tenant": tenant, "destination": name}
        )
        assert found is not None
        return found


@pytest.fixture
async def export(cell_database: PlaneDatabase, log: Log, tmp_path: Path) -> AsyncIterator[Export]:
    async with open_cell(cell_database, cell_database.worker_url) as database:
        made = Export(database, log, tmp_path)
        yield made
        await made.exporter.close()


async def add(cell: Database, name: str, target: Target, scope: TenantScope = AURORA) -> None:
    async with cell.transaction(scope) as session:
        await audit.add_destination(session, scope, name, target, BY, Origin())


async def look(cell: Database, name: str) -> Destination:
    async with cell.transaction(AURORA) as session:
        return next(each for each in await audit.list_destinations(session, AURORA) if each.name == name)


async def wait_for(reached: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - it is a thread that is waited for
            await asyncio.sleep(0.02)


async def test_each_destination_gets_every_event_of_its_tenant_and_a_dead_one_holds_nobody_up(
    log: Log, cell: Database, export: Export, authority: Authority, tmp_path: Path
) -> None:
    await log.write(700)
    await log.write(9, JADE)
    folder = tmp_path / "events"
    folder.mkdir()
    with receive_https(authority) as (address, web), receive_syslog(authority) as (place, syslog, headers):
        await add(cell, "web", Target("https", address, authority.pem, "siem_token"))
        await add(cell, "syslog", Target("syslog", place, authority.pem))
        await add(cell, "file", Target("file", str(folder)))
        await add(cell, "dead", Target("https", "https://127.0.0.1:1/", authority.pem))
        await add(cell, "unbelieved", Target("https", address))
        await log.sequence()
        await export.run()
        wanted = list(range(705))  # 700, and that five destinations were added
        await wait_for(lambda: len(syslog.bodies) == 705)
        assert web.places() == wanted
        assert sorted(syslog.places()) == wanted, "each batch has a connection, and the test a thread for each"
        assert web.headers["authorization"] == "Bearer of-the-test"
        lines = b"".join(path.read_bytes() for path in sorted(folder.iterdir())).splitlines()
        assert [json.loads(line)["metadata"]["sequence"] for line in lines] == wanted
        assert {event["metadata"]["tenant_uid"] for event in web.events()} == {"aurora"}
        assert headers[0].startswith("<110>1 20")
        assert headers[0].endswith("Z eu-1 pitboss aurora player.status_changed")
    for name, problem in {
        "dead": "it cannot be reached (ConnectError)",
        "unbelieved": "its certificate is not believed",
    }.items():
        found = await look(cell, name)
        assert (found.next_seq, found.attempts) == (0, 1)
        assert problem in found.problem
    await export.exporter.step()
    assert export.lag_seconds("web") == 0
    assert export.lag_seconds("dead") > 0
    assert len({event["metadata"]["uid"] for event in web.events()}) == 705


async def test_what_was_refused_comes_again_and_what_was_taken_comes_again_when_it_is_asked_for(
    log: Log, cell: Database, export: Export, authority: Authority
) -> None:
    with receive_https(authority) as (address, web):
        await add(cell, "web", Target("https", address, authority.pem))
        await log.write(30)
        await log.sequence()
        web.status = 503
        await export.run()
        assert ((await look(cell, "web")).problem, web.bodies) == ("it answered 503", [])
        web.status = 200
        await export.run()
        assert web.bodies == [], "it rests for a second before it is tried again"
        await asyncio.sleep(1.1)
        await export.run()
        assert web.places() == list(range(31))
        first = web.events()
        async with cell.transaction(AURORA) as session:
            with pytest.raises(DestinationInvalid, match="the log has"):
                await audit.replay_destination(session, AURORA, "web", 9999, BY, Origin())
            with pytest.raises(DestinationInvalid, match="the log has"):
                await audit.add_destination(session, AURORA, "late", Target("file", "/nowhere"), BY, Origin(), 9999)
            await audit.replay_destination(session, AURORA, "web", 20, BY, Origin())
        await export.run()
        assert web.events()[31:] == first[20:], "the same events under the same ids"
        async with cell.transaction(AURORA) as session:
            await audit.remove_destination(session, AURORA, "web", BY, Origin())
            with pytest.raises(DestinationUnknown):
                await audit.replay_destination(session, AURORA, "web", 0, BY, Origin())
        await log.sequence()
        await export.run()
        assert len(web.places()) == 42, "nothing goes to what was removed"
    kinds = [json.loads(body)["type"] for _, body in await log.entries()]
    assert kinds.count("destination.added") == kinds.count("destination.replayed") == 1
    assert kinds.count("destination.removed") == 1


async def test_a_syslog_receiver_that_breaks_off_has_not_taken_the_batch(
    log: Log, cell: Database, export: Export, authority: Authority
) -> None:
    """What was written lies in buffers of the machine by then, so that writing alone would look like success."""
    listener = socket.create_server(("127.0.0.1", 0))

    def break_off() -> None:
        with suppress(OSError):
            raw, _ = listener.accept()
            connection = authority.server.wrap_socket(raw, server_side=True)
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    threading.Thread(target=break_off, daemon=True).start()
    await add(cell, "syslog", Target("syslog", f"127.0.0.1:{listener.getsockname()[1]}", authority.pem))
    await log.write(40)
    await log.sequence()
    await export.run()
    listener.close()
    found = await look(cell, "syslog")
    assert (found.next_seq, found.attempts) == (0, 1)
    assert found.problem.startswith("it cannot be reached")


async def test_an_exporter_that_is_killed_in_the_middle_loses_nothing(
    log: Log, cell: Database, authority: Authority, tmp_path: Path
) -> None:
    keys = ",".join(f"{key.key_id}:{key.secret.hex()}" for key in log.database.context_keys)
    script = str(Path(__file__).with_name("exporter_process.py"))
    folder = tmp_path / "events"
    folder.mkdir()
    with receive_https(authority) as (address, web), receive_syslog(authority) as (place, syslog, _headers):
        await add(cell, "web", Target("https", address, authority.pem))
        await add(cell, "syslog", Target("syslog", place, authority.pem))
        await add(cell, "file", Target("file", str(folder)))
        await log.write(597)
        await log.sequence()
        for kills in (1, 2):
            child = await asyncio.create_subprocess_exec(sys.executable, script, log.database.worker_url, keys)
            goal = kills * 100
            await wait_for(lambda goal=goal: len(set(web.places())) > goal or len(set(syslog.places())) > goal)
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
        child = await asyncio.create_subprocess_exec(sys.executable, script, log.database.worker_url, keys)
        try:
            await wait_for(lambda: len(set(web.places())) == len(set(syslog.places())) == 600, 40)
            path = folder / f"ocsf-{web.events()[0]['metadata']['original_time'][:10]}.jsonl"
            await wait_for(lambda: len(set(path.read_bytes().splitlines())) == 600)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
    for received in (web, syslog):
        assert set(received.places()) == set(range(600)), "none is missing, some came twice"
    places = [json.loads(line)["metadata"]["sequence"] for line in path.read_bytes().splitlines()]
    assert set(places) == set(range(600)), "and no line of the file is cut off"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("web", Target("https", "http://127.0.0.1/")),
        ("web", Target("https", "https://user@127.0.0.1/")),
        ("web", Target("syslog", "127.0.0.1")),
        ("web", Target("file", "events")),
        ("web", Target("https", "https://127.0.0.1/", "no certificate")),
        ("web", Target("https", "https://127.0.0.1/", "kein Zertifikat, sondern Prosa – mit Zeichen")),
        ("web", Target("pigeon", "roof")),
        ("Web!", Target("https", "https://127.0.0.1/")),
    ],
)
async def test_what_nothing_can_be_sent_to_is_refused(
    module_cell_database: PlaneDatabase, name: str, target: Target
) -> None:
    async with open_cell(module_cell_database) as cell:
        with pytest.raises(DestinationInvalid):
            await add(cell, name, target)


def test_a_destination_that_fails_rests_longer_each_time_and_five_minutes_at_most() -> None:
    assert [compute_backoff_seconds(attempts) for attempts in (0, 1, 2, 9, 40)] == [1, 2, 4, 300, 300]
