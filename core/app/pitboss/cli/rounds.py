"""`pitboss rounds prove`, `verify`, `export` and `keys`: bookings of rounds and payments as evidence."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
import click
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.cli.cell import get_scope, open_cell
from pitboss.cli.reading import record_export
from pitboss.kernel.classes import Sort
from pitboss.kernel.scope import TenantScope
from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings, require
from pitboss.platform.worm.port import WormStore


@click.group("rounds")
def rounds() -> None:
    """Prove rounds and payments by their sealed log."""


class _Books(NamedTuple):
    """A tenant's books and store as a command sees them; `stored` are the segments there were before, if counted."""

    session: AsyncSession
    connection: asyncpg.Connection
    scope: TenantScope
    worm: WormStore
    stored: int


@asynccontextmanager
async def _open(
    settings: Settings, slug: str, told: tuple[str, str] | None = None, *, count: bool = False
) -> AsyncGenerator[_Books]:
    """Open the books of a tenant and the store; `told`, an event's type and its target, is recorded first."""
    from pitboss.evidence.runtime import count_stored
    from pitboss.platform.worm import open_worm_store

    worm = open_worm_store(settings)
    try:
        async with open_cell(settings) as (database, directory):
            scope = get_scope(directory, slug)
            if told is not None:
                its: tuple[Sort, ...] = ("subject_key", "play", "money")
                await record_export(database, scope, *told, [told[1]], sorts=its)
            stored = await count_stored(worm, scope) if count else 0
            async with database.snapshot(scope) as session:
                raw = await (await session.connection()).get_raw_connection()
                connection: asyncpg.Connection | None = raw.driver_connection
                if connection is None:
                    raise click.ClickException("the database's connection is closed")
                yield _Books(session, connection, scope, worm, stored)
    finally:
        await worm.close()


@rounds.command("prove")
@click.argument("tenant")
@click.argument("round_id", metavar="ROUND", type=click.UUID)
@click.option("--into", type=click.Path(path_type=Path), help="A file that does not exist yet; printed without it.")
@deployment_command("ledger.book.view")
def prove_command(tenant: str, round_id: UUID, into: Path | None) -> None:
    """Write the proof of one round: its bookings and the way from each to the newest signed checkpoint."""
    from pitboss.evidence.runtime import prove_round
    from pitboss.games import service as games

    async def prove() -> bytes:
        async with _open(load_settings(), tenant, ("round.viewed", str(round_id))) as books:
            parts = await games.get_round(books.session, books.scope, round_id)
            return await prove_round(books.connection, books.scope, books.worm, round_id, parts)

    if into is not None and into.exists():
        raise click.UsageError(f"{into} exists; a proof is never written over")
    if into is not None and not into.parent.is_dir():
        raise click.UsageError(f"there is no folder {into.parent}")
    proof = asyncio.run(prove())
    if into is None:
        click.echo(proof.decode())
    else:
        into.write_bytes(proof)
        click.echo(f"{len(json.loads(proof)['entries'])} bookings of round {round_id} are proved by {into}")


@rounds.command("verify")
@click.argument("tenant")
@deployment_command("ledger.book.view")
def verify_command(tenant: str) -> None:
    """Check every segment of a tenant in the store, and hold them against the journal; exit with 1 on a finding."""
    from pitboss.evidence.runtime import check_segments

    settings = load_settings()

    async def check() -> int:
        async with _open(settings, tenant, count=True) as books:
            found = await check_segments(
                books.connection,
                books.scope,
                books.worm,
                _keys(settings, tenant),
                books.stored,
                lambda line: click.echo(f"{tenant}: {line}", err=True),
            )
        for finding in found.findings:
            click.echo(f"{tenant}: {finding}")
        told = f"{len(found.findings)} findings" if found.findings else "journal, segments and checkpoints agree"
        replaced = f", {found.superseded} of them in place of one of a lost database" if found.superseded else ""
        click.echo(
            f"{tenant}: {found.segments} segments{replaced}, {found.entries} bookings, {found.unsealed} not sealed yet:"
            f" {told}"
        )
        return 1 if found.findings else 0

    sys.exit(asyncio.run(check()))


@rounds.command("export")
@click.argument("tenant")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="A folder that does not exist yet.")
@deployment_command("ledger.book.view")
def export_command(tenant: str, into: Path) -> None:
    """Copy all sealed segments of a tenant into a folder that a stranger can check."""
    from pitboss.evidence.runtime import export_segments

    async def export() -> None:
        async with _open(load_settings(), tenant, ("round.exported", tenant)) as books:
            origin, count = await export_segments(books.connection, books.scope, books.worm, into)
        click.echo(f"{origin}: {count} segments in {into}")

    if into.exists():
        raise click.UsageError(f"{into} exists; an export is never written over")
    asyncio.run(export())


@rounds.command("keys")
@click.argument("tenant")
@deployment_command("audit.event.view")
def keys_command(tenant: str) -> None:
    """Print the public keys of a tenant's sealed log, as an auditor is given them once."""
    for line in _keys(load_settings(), tenant):
        click.echo(line)


def _keys(settings: Settings, tenant: str) -> list[str]:
    from pitboss.audit.runtime import describe_keys, read_key_file
    from pitboss.evidence.runtime import origin_of

    found = [key.public_key().public_bytes_raw() for key in read_key_file(require(settings, "audit_keys_file"))]
    return describe_keys(origin_of(settings.cell, tenant), found)
