"""Control away, a cell away: who goes on, and what nobody may reach."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis
from tests.residency.world import TENANT_OF, World, finish

from pitboss.cli.supervisor import fetch
from pitboss.platform.processes import wait_until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


def test_without_control_cells_take_bets_sign_players_in_and_restart(world: World) -> None:
    with world.shut_off("control"):
        world.kill("control", "control")
        assert wait_until(lambda: fetch("127.0.0.1", world.port("control"), "/readyz")[0] == 503, 60)
        for cell in TENANT_OF:
            assert world.play(cell)["calls"] >= 60
        for number, cell in ((signal.SIGKILL, "br-1"), (signal.SIGTERM, "eu-1")):
            for name in ("web", "worker", "relay"):
                world.kill(name, cell, number)
            world.wait_until_ready(cell)
            assert world.play(cell)["calls"] >= 60
        assert fetch("127.0.0.1", world.port("control"), "/readyz")[0] == 503, (
            "control must have been away all the time"
        )
    assert wait_until(lambda: fetch("127.0.0.1", world.port("control"), "/readyz")[0] == 200, 60)


def test_a_cell_that_stops_is_not_noticed_by_the_other(world: World) -> None:
    traffic = world.simulate("eu-1", "--rate", "20", "--players", "3", "--duration", "25")
    redis_pid = int((world.state.redis / "br-1" / "pid").read_text().split()[0])
    time.sleep(5)  # its players are in
    with world.shut_off("br-1"):
        os.kill(redis_pid, signal.SIGSTOP)
        try:
            for name, number in itertools.product(("web", "worker", "relay"), (signal.SIGKILL, signal.SIGTERM)):
                world.kill(name, "br-1", number)
                assert set(world.statuses("eu-1").values()) == {200}
            assert set(world.statuses("br-1").values()) <= {0, 503}
            assert fetch("127.0.0.1", world.port("control"), "/readyz")[0] == 200
            summary = finish(traffic)
        finally:
            os.kill(redis_pid, signal.SIGCONT)
    assert summary["retries"] == 0, summary
    assert summary["rounds"] > 20
    world.wait_until_ready("br-1")
    assert world.play("br-1")["calls"] >= 60


@pytest.mark.parametrize("cell", TENANT_OF)
def test_a_cell_keeps_its_keys_alone_and_commands_reach_them(world: World, cell: str) -> None:
    keys = world.state.folder / "keys"
    assert {each.name for each in keys.iterdir()} == set(TENANT_OF)
    assert {each.name.partition(".")[0] for each in (keys / cell).iterdir()} == {cell, "root"}
    changed = world.command(cell, "keys", "epoch", TENANT_OF[cell])
    assert changed.stdout == "epoch 2 has begun; destroyed: 1\n", changed.stderr


@pytest.mark.parametrize("cell", TENANT_OF)
def test_a_foreign_tenant_is_sent_to_its_cell(world: World, cell: str) -> None:
    other = next(name for name in TENANT_OF if name != cell)
    slug, address = TENANT_OF[other], world.address(other)
    # A web that another test has just restarted looks for its directory every few seconds.
    known = f"http://127.0.0.1:{world.port('web', cell)}/wallet/{slug}/softswiss/play"
    deadline = time.monotonic() + 60
    while httpx.post(known, content=b"no dialect reads this").status_code != 421 and time.monotonic() < deadline:
        time.sleep(0.2)
    for path in (f"/wallet/{slug}/softswiss/play", f"/wallet/{slug}/nobody/play", f"/wallet/{slug}/softswiss/nothing"):
        for port in (world.port("web", cell), world.port("wallet", cell)):
            answer = httpx.post(f"http://127.0.0.1:{port}{path}", content=b"no dialect reads this")
            assert answer.status_code == 421, path
            assert answer.json() == {
                "type": "about:blank",
                "status": 421,
                "detail": f"this tenant is served at {address}",
            }
    with world.client(cell, slug) as client:
        answer = client.post("/api/v1/sessions", json={"email": "a@b.example", "password": "x" * 12})
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["code"]) == (421, "web.misdirected")
    assert told["detail"] == f"this domain is served at {address}"
    with world.client(other) as client:
        assert client.get("/api/v1/games").status_code == 200


async def test_no_login_of_a_plane_enters_the_database_of_another(world: World) -> None:
    planes = ("control", "eu-1", "br-1")
    names = {plane: world.admin_url(plane).rpartition("/")[2] for plane in planes}
    refused = pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database")
    tried = 0
    for plane in planes:
        for field, url in world.logins_of(plane).items():
            for other in planes:
                # The login that copies a cell's log enters no database at all.
                if other == plane and field != "backup_database_url":
                    connection = await asyncpg.connect(url)
                    await connection.close()
                    continue
                with refused:
                    await asyncpg.connect(url.replace(names[plane], names[other]))
                tried += 1
    assert tried == 15 * 2 + 2
    users = {url.split("//")[1].split(":")[0] for plane in planes for url in world.logins_of(plane).values()}
    assert len(users) == 15


def test_no_cell_enters_the_redis_of_another(world: World) -> None:
    for cell, other in (("eu-1", "br-1"), ("br-1", "eu-1")):
        with redis.Redis.from_url(world.redis_url(cell)) as own:
            keys = [bytes(key).decode() for key in own.scan_iter()]
        assert keys
        assert all(key.startswith(f"{cell}:") for key in keys)
        password = world.redis_url(cell).partition("@")[0]
        port = world.port("redis", other)
        with (
            redis.Redis.from_url(f"{password}@127.0.0.1:{port}/0") as foreign,
            pytest.raises(redis.AuthenticationError),
        ):
            foreign.ping()


def test_a_token_of_one_cell_opens_no_other(world: World) -> None:
    tokens = {plane: world.secrets_of(plane)["operator_token"] for plane in ("control", "eu-1", "br-1")}
    assert len(set(tokens.values())) == 3
    for cell in TENANT_OF:
        for plane, token in tokens.items():
            with world.client(cell) as client:
                headers = {"authorization": f"Bearer {token}"}
                status = client.get("/api/v1/operator/rounds", headers=headers).status_code
            assert status == (200 if plane == cell else 401), (cell, plane)


def test_no_process_holds_a_secret_of_another_plane(world: World) -> None:
    """By the environments of the running processes."""
    planes = ("control", "eu-1", "br-1")
    private = {
        plane: {
            *world.logins_of(plane).values(),
            *(
                value
                for name, value in world.secrets_of(plane).items()
                if not name.endswith(("public_keys", "seal_seconds"))
            ),
        }
        for plane in planes
    }
    told = {"control": ["control"], "eu-1": ["web", "worker", "relay"], "br-1": ["web", "worker", "relay"]}
    for plane, names in told.items():
        for name in names:
            environ = Path(f"/proc/{world.process_of(name, plane)}/environ").read_bytes().decode()
            values = {entry.partition("=")[2] for entry in environ.split("\0")}
            assert values & private[plane], (plane, name)
            for other in planes:
                assert other == plane or not values & private[other], (plane, name, other)


@pytest.mark.parametrize("place", ["control", "eu-1", "br-1"])
def test_the_guards_of_every_database_are_those_of_the_code(world: World, place: str) -> None:
    plane = "control" if place == "control" else "cell"
    drift = world.command(place, "db", "drift", plane)
    assert (drift.returncode, drift.stdout) == (0, "0 differences\n"), drift.stdout + drift.stderr


@pytest.mark.parametrize("cell", TENANT_OF)
def test_the_books_of_every_cell_balance(world: World, cell: str) -> None:
    world.play(cell, 20)
    proof = world.command(cell, "ledger", "verify", "--json")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    (found,) = json.loads(proof.stdout)
    assert found["findings"] == []
