"""`pitboss policy`: what applies to a tenant's players, and who says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import click
import msgspec

import pitboss.policy.service as policies
import pitboss.tenancy.service as tenancy
from pitboss.accounts import service as accounts
from pitboss.cli.cell import get_scope, open_cell
from pitboss.cli.tenant_apply import Workshop
from pitboss.kernel.clock import utc_now
from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import Claim, EffectivePolicy, ResolvedFigure
from pitboss.tenancy.contracts import TenantFile
from pitboss.tenancy.errors import TenantFilesInvalid
from pitboss_sdk.jurisdiction import Evidence, Pack, find_in_force, list_filings


@click.group("policy")
def policy() -> None:
    """Say what applies to a tenant's players."""


@policy.command("explain")
@click.argument("tenant")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="The licence's today by default.")
@click.option("--licence", help="One of the tenant's packs; each of them by default.")
@click.option("--brand", help="A brand, for the licence that its players are registered under.")
@click.option("--player", type=click.UUID, help="A player's public id, for the licence of the account.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@deployment_command("policy.policy.view")
def explain_command(
    tenant: str, day: datetime | None, licence: str | None, brand: str | None, player: UUID | None, as_json: bool
) -> None:
    """Name value, source and mark of every figure, and what it beat, as the tenant's files say it now.

    `pitboss tenant plan` tells whether the cell holds the same. A player is looked up in the cell of the settings.
    """
    if sum(each is not None for each in (licence, brand, player)) > 1:
        raise click.UsageError("give one of --licence, --brand and --player")
    settings = load_settings()
    workshop = Workshop(settings)
    folder, problems = tenancy.check_folder(workshop.settings.tenants_dir, tenant, workshop.offer)
    if folder is None:
        raise TenantFilesInvalid(problems)
    host = workshop.host_of(folder.tenant.cell)
    packs = {slug: host.get_pack(slug) for slug in folder.tenant.packs}
    tightened, _ = workshop.read_policy(folder)
    if brand is not None:
        licence = _get_licence_of_brand(folder.tenant, brand)
    elif player is not None:
        licence = asyncio.run(_get_licence_of_player(settings, tenant, player))
    chosen = list(packs) if licence is None and packs else [policies.choose_licence(packs, licence)]
    rows: list[dict[str, Any]] = []
    for index, slug in enumerate(chosen):
        loaded = packs.get(slug)
        zone = loaded.pack.manifest.time_zone if loaded else "UTC"
        on = day.date() if day else policies.compute_local_day(utc_now(), zone)
        effective = policies.resolve_policy(
            tightened, loaded.pack if loaded else None, on, file=f"{tenant}/policy.toml"
        )
        if as_json:
            rows.append(_explain_as_data(folder.tenant, effective, loaded))
        else:
            click.echo("\n".join([""] * bool(index) + list(_explain(folder.tenant, effective, loaded))))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())


def _get_licence_of_brand(tenant: TenantFile, slug: str) -> str:
    """Return the licence of who registers with a brand, as the files say."""
    found = next((brand for brand in tenancy.record_from_file(tenant).brands if brand.slug == slug), None)
    if found is None:
        known = ", ".join(sorted(brand.slug for brand in tenant.brands))
        raise click.BadParameter(f"unknown brand {slug}; known are {known}", param_hint="--brand")
    return found.pack


async def _get_licence_of_player(settings: Settings, slug: str, public_id: UUID) -> str:
    """Return the licence of an account, as the cell holds it."""
    async with open_cell(settings) as (database, directory):
        scope = get_scope(directory, slug)
        async with database.transaction(scope) as session:
            return (await accounts.get_player(session, scope, public_id)).licence


def _explain(tenant: TenantFile, effective: EffectivePolicy, loaded: LoadedPack | None) -> Iterator[str]:
    law = f"licence {effective.licence} ({loaded.distribution} {loaded.version})" if loaded else "no licence"
    yield f"{tenant.slug}, {law}, on {effective.on}; days, weeks and months are those of {effective.time_zone}"
    for figure in effective.figures.values():
        yield f"{figure.name} = {policies.describe_value(figure.value)}"
        yield from _tell_claims(figure)
    if loaded is not None:
        yield from _tell_the_rest(loaded.pack, effective.on)
    marks = [claim.mark for figure in effective.figures.values() for claim in figure.deciding[:1]]
    counts = ", ".join(f"{marks.count(mark)} {mark}" for mark in dict.fromkeys(sorted(marks)))
    yield f"{len(marks)} figures: {counts}. What is unverified may tighten; it never loosens."


def _tell_claims(figure: ResolvedFigure) -> Iterator[str]:
    for claim in figure.deciding:
        alone = "" if claim.value == figure.value else f"{policies.describe_value(claim.value)} "
        yield f"    from {alone}{_describe_claim(claim)}"
    for claim in figure.beaten:
        verb = "in place of" if claim in figure.replaced else "beats"
        yield f"    {verb} {policies.describe_value(claim.value)} of {_describe_claim(claim)}"


def _describe_claim(claim: Claim) -> str:
    days = "" if claim.since is None else f", from {claim.since}{f' to {claim.until}' if claim.until else ''}"
    checked = "" if claim.checked_on is None else f", checked {claim.checked_on}"
    note = f" ({claim.note})" if claim.note else ""
    return f"{claim.who} [{claim.mark}{days}{checked}]: {claim.source}{note}"


def _tell_the_rest(pack: Pack, on: date) -> Iterator[str]:
    """Yield what has no stricter or looser: taxes, and reports with the next day on which each is due."""
    for tax in find_in_force(pack.tax.tax_rates_basis_points, on).values():
        yield f"tax_rates_basis_points.{tax.tax} = {tax.value} of {tax.base}, owed by the {tax.payer}: {tax.scope}"
        yield f"    from {_describe_evidence(pack, tax)}"
    for report in find_in_force(pack.calendar.reports, on).values():
        filings = list_filings([report], on, on + timedelta(days=400))
        due = f"next due {filings[0].due_on}" if filings else "not due within 400 days"
        yield f"reports.{report.report} = {report.frequency.replace('_', '-')}, {due}, to {report.recipient}"
        yield f"    from {_describe_evidence(pack, report)}"


def _describe_evidence(pack: Pack, entry: Evidence) -> str:
    days = f"from {entry.since}{f' to {entry.until}' if entry.until else ''}"
    note = f" ({entry.note})" if entry.note else ""
    source = f"{entry.source} [{', '.join(entry.see)}]"
    return f"{pack.manifest.slug} [{entry.mark}, {days}, checked {entry.checked_on}]: {source}{note}"


def _explain_as_data(tenant: TenantFile, effective: EffectivePolicy, loaded: LoadedPack | None) -> dict[str, Any]:
    def tell(claim: Claim) -> dict[str, Any]:
        return {**msgspec.to_builtins(claim), "value": policies.describe_value(claim.value)}

    return {
        "tenant": tenant.slug,
        "licence": effective.licence,
        "pack_version": loaded.version if loaded else None,
        "on": effective.on,
        "time_zone": effective.time_zone,
        "figures": [
            {
                "name": figure.name,
                "value": policies.describe_value(figure.value),
                "mark": figure.deciding[0].mark,
                "deciding": [tell(claim) for claim in figure.deciding],
                "beaten": [tell(claim) for claim in figure.beaten],
            }
            for figure in effective.figures.values()
        ],
        "statements": []
        if loaded is None
        else [
            {"name": name, **msgspec.to_builtins(entry)}
            for name, entry in loaded.pack.list_statements()
            if entry.holds(effective.on) and name.startswith(("tax_rates_basis_points.", "reports."))
        ],
    }
