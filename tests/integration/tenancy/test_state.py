"""Suspending, resuming and closing a tenant: in control, in the cell's directory and in the log, once each."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import msgspec
import pytest
from tests.factories.ports import free_port
from tests.factories.tenants import environment_of, run_apply

import pitboss.directory.service as directory
import pitboss.tenancy.service as tenancy
from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_control_events
from pitboss.cli import tenant_apply
from pitboss.cli.tenant_apply import Deployment
from pitboss.cli.tenant_state import change_state
from pitboss.directory.contracts import TenantState
from pitboss.hosting.errors import CellUnreachable
from pitboss.platform.settings import Settings
from pitboss.tenancy.contracts import Offer
from pitboss.tenancy.errors import ChangeRefused, TenantNotFound

ACTIVE, SUSPENDED, CLOSED = TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.CLOSED


async def states(deployment: Deployment) -> tuple[str, str]:
    """Return the tenant's state in control and in the cell's directory."""
    async with deployment.control.transaction() as session:
        held = (await tenancy.get_tenant(session, "aurora")).state
    async with deployment.cell.cell_transaction() as session:
        snapshot = await directory.load_snapshot(session, cell="eu-1", keys=deployment.public_keys)
    assert snapshot is not None
    return held, next(found.state for found in snapshot.content.tenants if found.slug == "aurora")


async def events(deployment: Deployment) -> list[tuple[str, str]]:
    async with deployment.control.transaction() as session:
        page = await list_control_events(session, EventFilter(target="tenant:aurora"))
    return [(found.type, found.reason) for found in page.items if found.reason]


async def test_a_tenant_is_suspended_resumed_and_closed(deployment: Deployment) -> None:
    await run_apply(deployment)
    for state, reason in ((SUSPENDED, "review"), (ACTIVE, "review_passed"), (SUSPENDED, "leaving"), (CLOSED, "left")):
        for _ in range(2):  # the same again changes nothing
            await change_state(deployment, "aurora", state, reason)
            assert await states(deployment) == (state, state)
    assert await events(deployment) == [
        ("tenant.closed", "left"),
        ("tenant.suspended", "leaving"),
        ("tenant.resumed", "review_passed"),
        ("tenant.suspended", "review"),
    ]
    for state in (ACTIVE, SUSPENDED):
        with pytest.raises(ChangeRefused, match="the tenant is closed"):
            await change_state(deployment, "aurora", state, "second_thoughts")
    with pytest.raises(ChangeRefused, match="the tenant is closed"):
        await run_apply(deployment)
    assert await states(deployment) == (CLOSED, CLOSED)


async def test_a_serving_tenant_is_not_closed_at_once(deployment: Deployment) -> None:
    await run_apply(deployment)
    with pytest.raises(ChangeRefused, match="only when it is suspended"):
        await change_state(deployment, "aurora", CLOSED, "mistake")
    assert await states(deployment) == (ACTIVE, ACTIVE)
    assert await events(deployment) == []


async def test_an_apply_does_not_wake_a_suspended_tenant(deployment: Deployment) -> None:
    await run_apply(deployment)
    await change_state(deployment, "aurora", SUSPENDED, "review")
    assert await run_apply(deployment) == 0
    assert await states(deployment) == (SUSPENDED, SUSPENDED)


async def test_a_rerun_heals_what_an_interruption_left(deployment: Deployment) -> None:
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        await tenancy.change_state(session, "aurora", SUSPENDED, "review", deployment.by)
    assert await states(deployment) == (SUSPENDED, ACTIVE)
    await change_state(deployment, "aurora", SUSPENDED, "review")
    assert await states(deployment) == (SUSPENDED, SUSPENDED)
    async with deployment.control.transaction() as session:
        await tenancy.change_state(session, "aurora", ACTIVE, "review_passed", deployment.by)
        await tenancy.publish_directories(session, deployment.signing_key, deployment.by)
    assert await states(deployment) == (ACTIVE, SUSPENDED)
    await change_state(deployment, "aurora", ACTIVE, "review_passed")
    assert await states(deployment) == (ACTIVE, ACTIVE)
    assert len(await events(deployment)) == 2


async def test_a_cell_that_is_away_does_not_hide_what_became_of_the_tenant(
    deployment: Deployment, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever suspends a tenant in a hurry must know that control has it, though the cell did not answer."""
    await run_apply(deployment)
    monkeypatch.setattr(tenant_apply, "_PATIENCE_SECONDS", 0.2)
    away = msgspec.structs.replace(deployment.workshop.offer.cells["eu-1"], address=f"http://127.0.0.1:{free_port()}")
    deployment.workshop.offer = Offer({"eu-1": away})
    deployment.workshop.settings = msgspec.structs.replace(settings, call_signing_key=settings.directory_signing_key)
    deployment.has_cell = False
    with pytest.raises(
        CellUnreachable, match="aurora is suspended in control, but its cell does not know yet: cell eu"
    ):
        await change_state(deployment, "aurora", SUSPENDED, "review")
    deployment.has_cell = True
    assert await states(deployment) == (SUSPENDED, ACTIVE)


async def test_who_is_not_registered_has_no_state(deployment: Deployment) -> None:
    with pytest.raises(TenantNotFound):
        await change_state(deployment, "aurora", SUSPENDED, "review")


async def test_the_commands(deployment: Deployment, settings: Settings) -> None:
    await run_apply(deployment)

    async def tenant(*words: str, answer: str = "") -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "pitboss.bootstrap", "tenant", *words],
            check=False,
            env=environment_of(settings),
            input=answer,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    assert await tenant("suspend", "aurora", "--reason", "review") == (0, "aurora is suspended\n")
    assert await states(deployment) == (SUSPENDED, SUSPENDED)
    code, said = await tenant("close", "aurora", "--reason", "left", answer="n\n")
    assert (code, "Aborted" in said) == (1, True)
    assert await states(deployment) == (SUSPENDED, SUSPENDED)
    assert await tenant("resume", "aurora", "--reason", "review_passed") == (0, "aurora is active\n")
    code, said = await tenant("close", "aurora", "--reason", "left", "--yes")
    assert (code, "tenancy.change_refused" in said) == (1, True)
    code, said = await tenant("suspend", "aurora", "--reason", "Because I say so")
    assert (code, "a code, not a sentence" in said) == (2, True)
    assert (await tenant("suspend", "nobody", "--reason", "review"))[0] == 1
    assert await states(deployment) == (ACTIVE, ACTIVE)
