"""`pitboss ledger`: prove the books of a cell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
import msgspec

from pitboss.accounts import service as accounts
from pitboss.bonus import service as bonus
from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledgers
from pitboss.ledger.contracts import Finding, Verification
from pitboss.limits import service as limits
from pitboss.permissions.service import deployment_command
from pitboss.platform.db import Database
from pitboss.platform.settings import Settings, load_settings


class TenantProof(msgspec.Struct, frozen=True):
    """What was looked at for one tenant and what was wrong."""

    tenant: str
    wallets: int
    bookings: int
    findings: tuple[Finding, ...]


@click.group("ledger")
def ledger() -> None:
    """Verify the ledger."""


@ledger.command("verify")
@click.option("--tenant", "slugs", multiple=True, help="Only this tenant; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to standard error.")
@deployment_command("ledger.book.view")
def verify_command(slugs: tuple[str, ...], as_json: bool) -> None:
    """Prove conservation and replay for every tenant of the cell; exit with 1 on a finding."""
    proofs = asyncio.run(prove_tenants(load_settings(), slugs))
    if as_json:
        click.echo(msgspec.json.encode(proofs).decode())
    else:
        _print(proofs)
    sys.exit(1 if any(proof.findings for proof in proofs) else 0)


async def prove_tenants(settings: Settings, slugs: Sequence[str] = ()) -> list[TenantProof]:
    """Prove the books of these tenants, of all without a name, on the database that the settings lead to."""
    async with open_cell(settings) as (database, directory):
        # Closed tenants too: their money must still be where it was.
        chosen = slugs or [tenant.slug for tenant in directory.tenants()]
        scopes = [get_scope(directory, slug) for slug in sorted(set(chosen))]
        return [await prove_tenant(database, scope) for scope in scopes]


async def prove_tenant(database: Database, scope: TenantScope) -> TenantProof:
    """Prove the books of one tenant."""

    def report(check: str) -> None:
        click.echo(f"{scope.slug}: {check}", err=True)

    async with database.snapshot(scope) as session:
        found: Verification = await ledgers.verify_tenant(session, scope, report)
        report("marks of wallets")
        marks = await ledgers.verify_wallet_marks(
            session,
            scope,
            inactive_players=await accounts.list_inactive_numbers(session, scope),
            limited_wallets=await limits.list_limited_wallets(session, scope),
            licences=await accounts.list_licences(session, scope),
        )
        report("terms of awards")
        awards = await ledgers.verify_awards(session, scope, await bonus.list_claims(session, scope))
    return TenantProof(scope.slug, found.wallets, found.bookings, (*found.findings, *marks, *awards))


def _print(proofs: Sequence[TenantProof]) -> None:
    for proof in proofs:
        for finding in proof.findings:
            click.echo(f"{proof.tenant}: {finding.check}: {finding.subject}: {finding.detail}")
    findings = sum(len(proof.findings) for proof in proofs)
    wallets, bookings = sum(proof.wallets for proof in proofs), sum(proof.bookings for proof in proofs)
    verdict = f"{findings} findings" if findings else "every cent is where the journal says"
    click.echo(f"{len(proofs)} tenants, {wallets} wallets, {bookings} bookings: {verdict}")
