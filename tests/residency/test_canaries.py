"""A Brazilian player whose every field is unique in the world: found in Brazil, and nowhere else."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from email import message_from_bytes
from typing import Any

import asyncpg
import pytest
import redis
from tests.residency.sweep import (
    Find,
    list_kept_files,
    list_logs,
    search,
    sweep_database,
    sweep_dump,
    sweep_files,
    sweep_plane,
    sweep_redis,
)
from tests.residency.world import World

from pitboss.platform.processes import wait_until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

KEPT = {"ip", "agent_hash", "public_id", "reference"}
"""What the cell must keep; the rest (passwords, tokens, the agent in full) is kept by nobody."""
SEALED = {"email", "first_name", "last_name", "birth_date", "phone"}
"""What the cell keeps under the player's own key: not even its own database tells it."""

BRAZILIAN = {
    "country": "BR",
    "limits": [{"kind": kind, "period": "month", "amount_minor": 10**9} for kind in ("deposit", "loss")],
    "play_time_limits": [{"period": "month", "minutes": 31 * 24 * 60}],
}
"""The rest of a registration; the law demands that limits are chosen."""


class Brazilian:
    """Somebody who has done everything that a player can do, and what it was done with."""

    def __init__(self, world: World) -> None:
        self.world = world
        name = secrets.token_hex(6)
        self.agent = f"agent-{name}"
        self.marks: dict[str, str] = {
            "email": f"canary-{name}@exemplo.example",
            "password": f"senha secreta {name}",
            "first_name": f"Primeiro{name}",
            "last_name": f"Último{name}",
            "birth_date": f"19{secrets.randbelow(30) + 31}-07-{secrets.randbelow(18) + 11}",
            "phone": f"+55{secrets.randbelow(10**9) + 10**10}",
            "ip": f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(200) + 20}.{secrets.randbelow(200) + 20}",
            "agent": self.agent,
            "agent_hash": hashlib.sha256(self.agent.encode()).hexdigest()[:16],
            "reference": f"reference-{name}",
            "new_password": f"nova senha {name}",
        }

    def live(self) -> None:
        """Register, fail to sign in, sign in, be paid, play, forget the password, and sign in with a new one."""
        marks = self.marks
        with self.world.client("br-1", from_address=marks["ip"], agent=self.agent) as client:
            fields = {
                name: marks[name] for name in ("email", "password", "first_name", "last_name", "birth_date", "phone")
            }
            registered = client.post("/api/v1/players", json={**fields, **BRAZILIAN})
            assert registered.status_code == 201, registered.text
            credentials = {"email": marks["email"], "password": marks["password"]}
            wrong = client.post("/api/v1/sessions", json={**credentials, "password": "something else"})
            assert wrong.status_code == 401
            session = client.post("/api/v1/sessions", json=credentials).json()
            marks["token"], marks["public_id"] = session["token"], session["player_id"]
            own = {"authorization": f"Bearer {session['token']}"}
            for path in ("/api/v1/me", "/api/v1/me/balances"):
                assert client.get(path, headers=own).status_code == 200
            again = client.post("/api/v1/players", json={**fields, **BRAZILIAN})  # a constraint refuses it
            assert again.status_code == 409
            self._credit(client)
            asked = client.post("/api/v1/password-reset-requests", json={"email": marks["email"]})
            assert asked.status_code < 300, asked.text
            marks["reset_token"] = self._read_token()
            reset = {"token": marks["reset_token"], "new_password": marks["new_password"]}
            # The mail lies in the spool a moment before the token in it is committed.
            assert wait_until(lambda: client.post("/api/v1/password-resets", json=reset).status_code == 204, 10)
            credentials["password"] = marks["new_password"]
            assert client.post("/api/v1/sessions", json=credentials).status_code < 300

    def _credit(self, client: Any) -> None:
        operator = {"authorization": f"Bearer {self.world.secrets_of('br-1')['operator_token']}"}
        order = {"amount_minor": 5000, "currency": "BRL", "reference": self.marks["reference"], "reason": "goodwill"}
        path = f"/api/v1/operator/players/{self.marks['public_id']}/credits"
        answer = client.post(path, headers=operator, json=order)
        assert answer.status_code < 300, answer.text

    def _read_token(self) -> str:
        folder = self.world.state.folder / "mail" / "br-1"

        def find() -> list[str]:
            mails = [message_from_bytes(path.read_bytes()) for path in folder.glob("*.eml")]
            texts = [str(mail.get_payload(decode=True)) for mail in mails if self.marks["email"] in str(mail["to"])]
            return [found for text in texts for found in re.findall(r"#token=([A-Za-z0-9_-]+)", text)]

        assert wait_until(lambda: bool(find()), 60)
        return find()[0]


@pytest.fixture(scope="module")
def brazilian(world: World) -> Brazilian:
    player = Brazilian(world)
    player.live()
    world.play("br-1", 40)
    world.play("eu-1", 40)
    return player


async def test_brazil_holds_all_that_it_must(world: World, brazilian: Brazilian) -> None:
    """The same sweep that finds nothing elsewhere finds everything here: it does look."""
    finds = await sweep_database(world.admin_url("br-1"), brazilian.marks)
    found = {find.mark for find in finds}
    assert found >= KEPT
    assert not {"password", "new_password", "token", "reset_token", "agent", *SEALED} & found
    assert "public.player.public_id" in {find.place for find in finds if find.mark == "public_id"}
    assert {find.mark for find in sweep_dump(world.admin_url("br-1"), brazilian.marks)} >= KEPT
    mails = sweep_files((world.state.folder / "mail" / "br-1").glob("*"), brazilian.marks)
    assert {"email", "first_name"} <= {find.mark for find in mails}


@pytest.mark.parametrize("place", ["control", "eu-1"])
async def test_no_other_plane_holds_anything(world: World, brazilian: Brazilian, place: str) -> None:
    assert await sweep_plane(world, place, brazilian.marks) == []


async def test_no_log_holds_anything_and_no_file_outside_the_cell(world: World, brazilian: Brazilian) -> None:
    logs = list_logs(world)
    assert {"control.log", "eu-1-web.log", "br-1-web.log", "br-1-worker.log", "server.log"} <= {
        log.name for log in logs
    }
    assert sum(log.stat().st_size for log in logs) > 1000
    assert sweep_files(logs, brazilian.marks) == []
    own = world.state.folder / "mail" / "br-1"
    kept = [path for path in list_kept_files(world) if own not in path.parents]
    assert len(kept) >= 5
    assert sweep_files(kept, brazilian.marks) == []


async def test_no_redis_of_brazil_holds_more_than_it_must(world: World, brazilian: Brazilian) -> None:
    assert {find.mark for find in sweep_redis(world.redis_url("br-1"), brazilian.marks)} <= {"public_id"}


def test_no_page_of_another_plane_shows_anything(world: World, brazilian: Brazilian) -> None:
    import httpx

    for place in ("control", "eu-1"):
        for path in ("/", "/metrics", "/readyz", "/?lang=pt-BR"):
            answer = httpx.get(world.address(place) + path)
            assert answer.status_code == 200
            assert list(search(path, answer.content, brazilian.marks)) == []


async def test_the_snapshot_tells_a_cell_of_the_others_only_where_they_live(world: World) -> None:
    connection = await asyncpg.connect(world.admin_url("eu-1"))
    body = await connection.fetchval("select body from directory_snapshot order by version desc limit 1")
    await connection.close()
    assert b'"elsewhere":[{"slug":"jangada","domains":["jangada.localhost"],"cell":"br-1","address":"' in body
    for private in (b"BRL", b"Jangada", b'pt-BR"],"default_language":"pt-BR'):
        assert private not in body


PLANTED = {"email": "planted-canary@exemplo.example"}


async def _plant(world: World, place: str, statement: str) -> None:
    connection = await asyncpg.connect(world.admin_url(place))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("place", ["control", "eu-1"])
async def test_a_planted_leak_is_found_in_a_database(world: World, place: str) -> None:
    leaks = {
        "plain": "create table leak as select 'Planted-Canary@exemplo.example'::text as field",
        "bytes": "create table leak as select 'planted-canary@exemplo.example'::bytea as field",
        "json": "create table leak as select jsonb_build_object('a', 'planted-canary@exemplo.example') as field",
        "list": "create table leak as select array['x', 'planted-canary@exemplo.example'] as field",
        "comment": "create table leak (field int); comment on table leak is 'planted-canary@exemplo.example'",
    }
    for name, statement in leaks.items():
        await _plant(world, place, statement)
        try:
            finds = await sweep_plane(world, place, PLANTED)
        finally:
            await _plant(world, place, "drop table leak")
        where = "pg_catalog.pg_description.description" if name == "comment" else "public.leak.field"
        assert {Find(where, "email"), Find("dump", "email")} <= set(finds), name
    assert await sweep_plane(world, place, PLANTED) == []


async def test_a_planted_leak_is_found_in_redis_and_in_logs(world: World) -> None:
    with redis.Redis.from_url(world.redis_url("eu-1")) as client:
        client.hset("eu-1:aurora:leak", "a", PLANTED["email"])
        assert sweep_redis(world.redis_url("eu-1"), PLANTED) == [Find("redis eu-1:aurora:leak", "email")]
        client.delete("eu-1:aurora:leak")
    log = world.state.logs / "planted.log"
    log.write_text(f'{{"event": "x", "who": "{PLANTED["email"]}"}}\n')
    try:
        assert sweep_files(list_logs(world), PLANTED) == [Find(str(log), "email")]
    finally:
        log.unlink()


async def test_the_servers_log_quotes_no_value(world: World, brazilian: Brazilian) -> None:
    """One server logs for all databases of this machine, so a refused statement must not quote what it was given."""
    player = brazilian.marks["public_id"]
    connection = await asyncpg.connect(world.admin_url("br-1"))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await connection.execute(
            "insert into player (tenant_id, public_id, brand, language, currency)"
            " select tenant_id, public_id, brand, language, currency from player where public_id = $1",
            player,
        )
    await connection.close()
    assert refused.value.detail is not None
    assert player in refused.value.detail  # the caller is told
    log = world.state.postgres / "server.log"
    assert await asyncio.to_thread(wait_until, lambda: "duplicate key value" in log.read_text(), 10)
    assert sweep_files([log], brazilian.marks) == []
