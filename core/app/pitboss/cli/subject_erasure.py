"""`pitboss subject erase` and `certificate`: the end of who a player was, and the paper about it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit import service as audit
from pitboss.audit.contracts import EventFilter
from pitboss.audit.errors import LogRefused, ProofUnavailable
from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import ErasureOutcome
from pitboss.keys.runtime import open_ring
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.settings import Settings, load_settings
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss.retention import service as retention

_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


def _code(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _REASON.fullmatch(value):
        raise click.BadParameter(f"a code, not a sentence ({_REASON.pattern})")
    return value


@click.command("erase")
@click.argument("tenant")
@click.argument("player", type=click.UUID)
@click.option("--reason", required=True, callback=_code, help="A code, such as subject_request.")
@click.option(
    "--certificate", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the certificate here too."
)
@deployment_command("subjects.player.delete")
def erase_command(tenant: str, player: UUID, reason: str, file: Path | None) -> None:
    """Erase who a player of a closed account is; exits with 1 where the law or a hold keeps it.

    Then the player's data are restricted instead: kept, and read for the law alone. Run again after an interruption.
    """
    outcome, paper = asyncio.run(_erase(load_settings(), tenant, player, reason))
    if outcome.certificate is None:
        kept = [(obstacle.code, obstacle.until) for obstacle in outcome.obstacles]
        for code, until in dict.fromkeys(kept):  # several records may be kept for one reason
            click.echo(f"kept{f' until {until.date().isoformat()}' if until else ''}: {code}")
        click.echo("nothing was erased; the player's data are restricted to what the law demands")
        raise click.exceptions.Exit(1)
    _hand_over(paper, file)


@click.command("certificate")
@click.argument("tenant")
@click.argument("player", type=click.UUID)
@click.option("--certificate", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write it here too.")
@deployment_command("subjects.case.view")
def certificate_command(tenant: str, player: UUID, file: Path | None) -> None:
    """Print, as JSON, what an erasure did, with its event and the proof that the log holds it.

    The proof is null until a checkpoint of the log covers the event, usually after a minute.
    """
    paper = asyncio.run(_certify(load_settings(), tenant, player))
    if paper is None:
        raise click.ClickException(f"player {player} was not erased")
    _hand_over(paper, file)


COMMANDS: Final = (erase_command, certificate_command)


async def _erase(settings: Settings, slug: str, player: UUID, reason: str) -> tuple[ErasureOutcome, Any]:
    packs, moment = dict(load_host(read_cell_file(settings.cell_file)).packs), utc_now()
    async with open_cell(settings) as (database, directory), open_ring(settings) as ring:
        scope = get_scope(directory, slug)
        async with database.transaction(scope) as session:
            schedule = await retention.read_schedule(session, scope, packs, moment)
            outcome = await accounts.erase(
                session,
                scope,
                ring,
                player,
                policy_version=schedule.version,
                checks=[retention.make_erasure_check(packs, moment)],
                reason=reason,
                actor=deployment_actor(),
                origin=Origin(request_id=str(new_uuid())),
            )
        async with database.transaction(scope) as session:
            return outcome, await _draw_up(session, scope, player)


async def _certify(settings: Settings, slug: str, player: UUID) -> Any:
    async with open_cell(settings) as (database, directory):
        scope = get_scope(directory, slug)
        async with database.transaction(scope) as session:
            return await _draw_up(session, scope, player)


async def _draw_up(session: AsyncSession, scope: TenantScope, player: UUID) -> Any:
    certificate = await keys.find_certificate(session, scope, player)
    if certificate is None:
        return None
    wanted = EventFilter(type="player.erased", target=f"player:{player}")
    (event,) = (await audit.list_events(session, scope, wanted)).items
    return {
        "tenant": scope.slug,
        "cell": scope.cell,
        "certificate": msgspec.to_builtins(certificate),
        "event": msgspec.to_builtins(event),
        "proof": await _prove(session, scope, event.event_id),
    }


async def _prove(session: AsyncSession, scope: TenantScope, event_id: UUID) -> Any:
    from pitboss.audit.runtime import prove_event

    try:
        return msgspec.json.decode(await prove_event(session, scope, event_id))
    except (ProofUnavailable, LogRefused):
        return None


def _hand_over(paper: Any, file: Path | None) -> None:
    text = msgspec.json.format(msgspec.json.encode(paper), indent=2).decode()
    if file is not None:
        file.write_text(text + "\n")
    click.echo(text)
