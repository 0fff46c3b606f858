"""Calls of control to the web of a real cell: an apply without a login of the cell, and every call that is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.asyncio import Redis
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.ports import free_port
from tests.factories.tenants import (
    ROOT,
    copy_tenants,
    environment_of,
    open_deployment,
    read_state,
    run_apply,
    tenant_settings,
    write_plugin_secrets,
)

from pitboss.cli.tenant_apply import Deployment, plan, read_held
from pitboss.directory.contracts import DirectoryContent, SigningKey
from pitboss.directory.rules import sign_snapshot
from pitboss.hosting.contracts import (
    CALLS_PATH,
    SIGNATURE_HEADER,
    Call,
    CallKind,
    TenantCall,
    TenantOrder,
)
from pitboss.hosting.errors import CellAnswered, CellUnreachable
from pitboss.hosting.rules import sign_call
from pitboss.hosting.runtime import CellClient, Distributor
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.redis import CellRedis
from pitboss.platform.settings import NamedKey, Settings
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.contracts import CATALOGUE_JOB
from pitboss.tenancy.contracts import By, CellPlace
from pitboss.themes.contracts import BrandTheme

BY = By(Actor(ActorKind.DEPLOYMENT, "tester"), Origin(request_id="test"))


class Cell:
    """The web of cell `eu-1` as a process, and what control knows to call it."""

    def __init__(self, settings: Settings, control: Settings, address: str, log: Path) -> None:
        self.settings, self.control, self.address, self.log = settings, control, address, log
        assert control.call_signing_key is not None
        self.key = SigningKey(control.call_signing_key.key_id, control.call_signing_key.raw)
        self.place = CellPlace("eu-1", "eu", address)
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pitboss.bootstrap", "web", "cell"],
                env=environment_of(self.settings),
                stdout=log,
                stderr=log,
            )

    async def start(self) -> None:
        self.process = self.launch()
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                assert self.process.poll() is None, self.log.read_text()
                with suppress(httpx.ConnectError):
                    if (await client.get(f"{self.address}/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    async def post(self, body: bytes, signature: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.post(self.address + CALLS_PATH, content=body, headers={SIGNATURE_HEADER: signature})


async def _remember_names(redis_url: str) -> None:
    """Let the memory of used calls begin a second before the first call: what is as old as it is refused."""
    memory, began = CellRedis(redis_url, "eu-1"), epoch_seconds()
    await memory.begin_memory()
    await memory.close()
    while epoch_seconds() == began:  # noqa: ASYNC110 - nothing else tells that the clock moved on
        await asyncio.sleep(0.05)


@asynccontextmanager
async def serve_cell(control: PlaneDatabase, cell: PlaneDatabase, redis_url: str, folder: Path) -> AsyncIterator[Cell]:
    """Serve a cell whose web alone has the logins of its database; the settings for control have none of them."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    (folder / "cells").mkdir()
    for name in ("eu-1", "br-1"):
        content = (ROOT / f"deploy/cells/{name}.toml").read_text()
        (folder / f"cells/{name}.toml").write_text(content.replace("http://127.0.0.1:8081", address))
    secrets_file, tenants_dir = folder / "secrets.toml", copy_tenants(folder)
    write_plugin_secrets(secrets_file, tenants_dir)
    calls = Ed25519PrivateKey.generate()
    both = msgspec.structs.replace(tenant_settings(control, cell, tenants_dir), cell_file=folder / "cells/eu-1.toml")
    settings = msgspec.structs.replace(
        both,
        control_database_url=None,
        control_migrate_url=None,
        directory_signing_key=None,
        call_public_keys=(NamedKey("c1", calls.public_key().public_bytes_raw()),),
        redis_url=redis_url,
        secrets_file=secrets_file,
        port=port,
    )
    planes = dict.fromkeys(("cell_database_url", "cell_worker_database_url", "cell_relay_database_url"))
    given: dict[str, Any] = {**planes, "cell_migrate_url": None, "context_keys": (), "directory_public_keys": ()}
    told = msgspec.structs.replace(both, call_signing_key=NamedKey("c1", calls.private_bytes_raw()), **given)
    opened = Cell(settings, told, address, folder / "web.log")
    await _remember_names(redis_url)
    await opened.start()
    try:
        yield opened
    finally:
        opened.stop()


@pytest.fixture
async def cell(
    control_database: PlaneDatabase, cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> AsyncIterator[Cell]:
    async with serve_cell(control_database, cell_database, redis_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def direct(
    control_database: PlaneDatabase, cell_database: PlaneDatabase, cell: Cell
) -> AsyncIterator[Deployment]:
    """A deployment that looks into both databases."""
    settings = msgspec.structs.replace(
        tenant_settings(control_database, cell_database, cell.control.tenants_dir),
        directory_signing_key=cell.control.directory_signing_key,
        directory_public_keys=cell.settings.directory_public_keys,
        cell_file=cell.control.cell_file,
    )
    opened = open_deployment(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def remote(cell: Cell) -> AsyncIterator[Deployment]:
    """A deployment that has no login of the cell."""
    opened = open_deployment(cell.control)
    yield opened
    await opened.close()


async def test_an_apply_by_calls_leaves_what_a_direct_one_leaves(
    cell: Cell, direct: Deployment, remote: Deployment
) -> None:
    assert not remote.has_cell
    folder = remote.workshop.check("aurora")
    planned = await plan(remote, folder)
    assert planned == await plan(direct, folder)
    assert await run_apply(remote) == len(planned.entries) > 20
    for way in (remote, direct):
        assert (await plan(way, folder)).entries == ()
    state = await read_state(direct)
    assert [row[0] for row in state["cell.audit"]] == [
        "keys.prepared",
        "ledger.prepared",
        "plugin.enabled",
        "plugin.enabled",
        "policy.applied",
        "theme.applied",
    ]
    assert state["cell.directory"] == [(1, "test1")]
    async with direct.cell.tenants_transaction([1]) as session:
        left = await session.execute(text("select job, payload->>'plugin' from outbox_job order by job_id"))
        assert [tuple(row) for row in left] == [(CATALOGUE_JOB, "softswiss"), (CATALOGUE_JOB, "hub88")]


async def test_what_is_held_is_read_by_calls_as_it_is_directly(
    cell: Cell, direct: Deployment, remote: Deployment
) -> None:
    await run_apply(remote)
    held = await read_held(remote, "aurora")
    assert held == await read_held(direct, "aurora")
    assert {touch.target for touch in held.touches} == {
        "policy:aurora",
        "plugin:hub88",
        "plugin:softswiss",
        "theme:aurora",
    }
    assert held.folder.images["aurora.png"].startswith(b"\x89PNG")
    assert cell.settings.secrets_file is not None
    secret = cell.settings.secrets_file.read_text().split('"')[1]
    assert secret.encode() not in msgspec.json.encode(held)


@pytest.mark.parametrize(
    ("theme", "reason"),
    [
        (BrandTheme(colour="#ffffff"), "themes.colour_unusable"),
        (BrandTheme(colour="#0b6e4f", logo=b"<svg/>"), "themes.image_unusable"),
        (BrandTheme(colour="#1f53b8; } body { display: none"), "hosting.order_refused"),
        (BrandTheme(colour="red"), "hosting.order_refused"),
    ],
)
async def test_a_cell_judges_a_theme_itself(cell: Cell, direct: Deployment, theme: BrandTheme, reason: str) -> None:
    asked = msgspec.structs.replace(order(), themes={"aurora": theme})
    for attempt in (CellClient(cell.place, cell.key).plan, CellClient(cell.place, cell.key).prepare):
        with pytest.raises(CellAnswered, match=reason):
            await attempt(asked, BY)
    assert (await read_state(direct))["cell.theme"] == []


async def test_a_cell_without_the_secret_refuses_before_anything_is_reserved(
    cell: Cell, direct: Deployment, remote: Deployment
) -> None:
    assert cell.settings.secrets_file is not None
    cell.settings.secrets_file.write_text('other = "x"\n')
    changes = await plan(remote, remote.workshop.check("aurora"))
    assert ["no value for demo-" in refusal for refusal in changes.refusals] == [True, True]
    assert "no value for demo-softswiss-api-secret" in "".join(changes.refusals)
    assert (await read_state(direct))["control.tenant"] == []


async def test_a_cell_that_is_away_is_named_and_a_rerun_heals(
    cell: Cell, direct: Deployment, remote: Deployment
) -> None:
    cell.stop()
    with pytest.raises(CellUnreachable, match=f"cell eu-1 at {cell.address}"):
        await CellClient(cell.place, cell.key).plan(order(), BY)
    applying = asyncio.create_task(run_apply(remote))  # it waits for a cell that is only just starting
    await asyncio.sleep(0.5)
    await cell.start()
    assert await applying > 20
    assert (await plan(direct, direct.workshop.check("aurora"))).entries == ()


def order(**changes: Any) -> TenantOrder:
    tenant = TenantOrder(1, "aurora", "eu-1", "eu", ("EUR",), {})
    return msgspec.structs.replace(tenant, **changes)


def make_call(kind: CallKind, content: object, **changes: Any) -> Call:
    call = Call("eu-1", new_uuid(), epoch_seconds(), kind, msgspec.Raw(msgspec.json.encode(content)))
    return msgspec.structs.replace(call, **changes)


def prepare(**changes: Any) -> Call:
    return make_call(CallKind.PREPARE_TENANT, TenantCall(order(), BY.actor, BY.origin), **changes)


async def count_rows(direct: Deployment) -> int:
    async with direct.cell.tenants_transaction([1]) as session:
        tables = ("audit_event", "house_account", "source", "plugin_enablement", "directory_snapshot")
        return sum([int(await session.scalar(text(f"select count(*) from {name}")) or 0) for name in tables])


REFUSED: dict[str, tuple[Callable[[Cell], tuple[bytes, str]], str]] = {
    "unsigned": (lambda cell: (sign_call(prepare(), cell.key)[0], ""), "hosting.call_refused"),
    "signed by nobody known": (lambda _: sign_call(prepare(), SigningKey("c1", b"\1" * 32)), "hosting.call_refused"),
    "an unknown key": (lambda cell: sign_call(prepare(), SigningKey("c2", cell.key.seed)), "hosting.call_refused"),
    "for another cell": (lambda cell: sign_call(prepare(cell="br-1"), cell.key), "hosting.call_refused"),
    "an hour old": (
        lambda cell: sign_call(prepare(issued_at=epoch_seconds() - 3600), cell.key),
        "hosting.call_refused",
    ),
    "a tenant of another cell": (
        lambda cell: sign_call(
            make_call(CallKind.PREPARE_TENANT, TenantCall(order(cell="br-1"), BY.actor, BY.origin)), cell.key
        ),
        "hosting.order_refused",
    ),
    "a tenant of another zone": (
        lambda cell: sign_call(
            make_call(CallKind.PREPARE_TENANT, TenantCall(order(locality="br"), BY.actor, BY.origin)), cell.key
        ),
        "hosting.order_refused",
    ),
    "somebody who may not": (
        lambda cell: sign_call(
            make_call(CallKind.PREPARE_TENANT, TenantCall(order(), Actor(ActorKind.OPERATOR, "operator"), BY.origin)),
            cell.key,
        ),
        "permissions.forbidden",
    ),
    "a player who reads": (
        lambda cell: sign_call(
            make_call(CallKind.READ_TENANT, TenantCall(order(), Actor(ActorKind.PLAYER, "p"), BY.origin)), cell.key
        ),
        "permissions.forbidden",
    ),
    "a tenant of another zone that is read": (
        lambda cell: sign_call(
            make_call(CallKind.READ_TENANT, TenantCall(order(locality="br"), BY.actor, BY.origin)), cell.key
        ),
        "hosting.order_refused",
    ),
    "a directory signed by the wrong key": (
        lambda cell: sign_call(
            make_call(CallKind.STORE_DIRECTORY, sign_snapshot("eu-1", 9, DirectoryContent(), cell.key)), cell.key
        ),
        "directory.snapshot_refused",
    ),
    "a riddle": (
        lambda cell: sign_call(make_call(CallKind.STORE_DIRECTORY, {"version": "nine"}), cell.key),
        "hosting.order_refused",
    ),
}


async def test_what_is_refused_changes_nothing(cell: Cell, direct: Deployment) -> None:
    for name, (forge, code) in REFUSED.items():
        answer = await cell.post(*forge(cell))
        assert (answer.status_code in {401, 403, 409}, answer.json()["code"]) == (True, code), name
    assert await count_rows(direct) == 0


async def test_a_call_is_used_once(cell: Cell, direct: Deployment) -> None:
    signed = sign_call(prepare(), cell.key)
    assert (await cell.post(*signed)).status_code == 200
    held = await count_rows(direct)
    assert held > 0
    again = await cell.post(*signed)
    assert (again.status_code, again.json()["detail"]) == (401, "the call was used before")
    assert await count_rows(direct) == held


async def test_a_client_tells_what_the_cell_answered(cell: Cell) -> None:
    with pytest.raises(CellAnswered, match=r"tenant.prepare with 409: hosting.order_refused tenant aurora belongs to"):
        await CellClient(cell.place, cell.key).prepare(order(locality="br"), BY)


async def test_a_call_of_the_second_in_which_a_memory_begins_is_made_again(cell: Cell, redis_url: str) -> None:
    """As in every first start: the memory of used calls is no older than the first apply."""
    hasty, patient = (CellClient(cell.place, cell.key, patience_seconds=seconds) for seconds in (0, 30))
    async with Redis.from_url(redis_url) as server:
        await server.flushdb()
        with pytest.raises(CellAnswered, match=r"503: platform\.redis_unavailable"):
            await hasty.plan(order(), BY)
        await server.flushdb()
        assert (await patient.plan(order(), BY)).refusals == ()


async def test_every_cell_gets_its_directory_whatever_the_others_do(cell: Cell, direct: Deployment) -> None:
    """An apply in one cell changes what the others are told; the web of control brings it to them."""
    await run_apply(direct)
    async with direct.control.transaction() as session:
        await session.execute(
            text("insert into cell (cell, locality, address) values ('br-1', 'br', 'http://127.0.0.1:9')")
        )
    metrics = Metrics()

    def confirmed_at(place: str) -> float | None:
        return metrics.registry.get_sample_value("pitboss_cell_confirmed_at_seconds", {"place": place})

    distributor = Distributor(direct.control, directory_key=direct.signing_key, call_key=cell.key, metrics=metrics)
    await distributor.renew()
    began = int(time.time())
    await distributor.distribute()
    assert (await read_state(direct))["cell.directory"] == [(1, "test1")]
    waited_since = confirmed_at("br-1")
    assert waited_since is not None, "the alert has nothing to look at where a cell was never reached"
    assert began <= waited_since <= time.time()
    assert confirmed_at("eu-1") is not None
    async with direct.control.transaction() as session:
        await session.execute(
            text(
                "insert into tenant (public_id, slug, name, state, locality, cell, environment, currencies, packs, plugins)"
                " values (uuidv7(), 'onyx', 'Onyx', 'active', 'br', 'br-1', 'demo', '{BRL}', '{}', '{}')"
            )
        )
    await asyncio.sleep(1.1)
    await distributor.renew()
    await distributor.distribute()
    assert (await read_state(direct))["cell.directory"] == [(1, "test1"), (2, "test1")]
    assert confirmed_at("br-1") == waited_since
    assert (confirmed_at("eu-1") or 0) > began
    async with httpx.AsyncClient() as client, asyncio.timeout(120):
        while True:  # the web takes the new directory over by itself
            answer = await client.post(f"{cell.address}/wallet/onyx/softswiss/play", content=b"{}")
            if answer.status_code == 421:
                break
            await asyncio.sleep(0.1)
    assert answer.json() == {
        "type": "about:blank",
        "status": 421,
        "detail": "this tenant is served at http://127.0.0.1:9",
    }


async def test_a_new_directory_key_is_signed_with_and_sent(cell: Cell, direct: Deployment) -> None:
    await run_apply(direct)
    new = SigningKey("test2", b"\7" * 32)
    distributor = Distributor(direct.control, directory_key=new, call_key=cell.key, metrics=Metrics())
    await distributor.renew()
    await distributor.distribute()
    state = await read_state(direct)
    assert state["control.published"] == [("eu-1", 1, "test1"), ("eu-1", 2, "test2")]
    assert state["cell.directory"] == [(1, "test1")], "the cell does not know the new key yet"
