"""`pitboss simulate`: a program of its own that is the game aggregators and the players, over HTTP only.

It knows the platform's addresses and the aggregators' protocols and imports nothing of the platform's rooms.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from pitboss.platform.settings import load_settings, require

if TYPE_CHECKING:
    from pitboss.cli.simulate.tally import Summary


@click.command("simulate")
@click.option("--target", help="Address of the cell's web; by default that of the cell's file.")
@click.option("--domain", help="The brand's domain (Host header); by default the first of the tenant's file.")
@click.option("--tenant", default="aurora", show_default=True, help="The tenant's slug.")
@click.option("--plugin", "plugins", multiple=True, help="A plugin's slug; by default all of the tenant's, in turn.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the aggregator; by default that of gateway_url.")
@click.option("--rate", type=click.IntRange(0), help="Rounds a second; 0: as fast as the players can.")
@click.option("--players", type=click.IntRange(1), default=5, show_default=True)
@click.option("--duration", "seconds", type=click.FloatRange(min=0), help="Seconds to play; without it until stopped.")
@click.option("--calls", type=click.IntRange(1), help="End after so many wallet calls.")
@click.option("--seed", default="", help="Makes the choices of players repeatable; by default a fresh one.")
@click.option("--duplicates", type=click.IntRange(0, 100), default=20, show_default=True, help="Percent sent twice.")
@click.option("--replays", type=click.IntRange(0, 100), default=10, show_default=True, help="Percent of rounds.")
@click.option("--bad-signatures", type=click.IntRange(0, 100), default=5, show_default=True, help="Percent of calls.")
@click.option("--books-fault", type=click.Choice(["lose", "double"]), help="Plant it in the aggregator's own books.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def simulate(
    target: str | None,
    domain: str | None,
    tenant: str,
    plugins: tuple[str, ...],
    port: int | None,
    rate: int | None,
    players: int,
    seconds: float | None,
    calls: int | None,
    seed: str,
    duplicates: int,
    replays: int,
    bad_signatures: int,
    books_fault: str | None,
    as_json: bool,
) -> None:
    """Play the aggregators and the players over HTTP; exit with 1 when an answer differs from the model."""
    from pitboss.cli.simulate.notices import find_senders
    from pitboss.cli.simulate.program import Run
    from pitboss.cli.simulate.vendors import make_vendor
    from pitboss.cli.simulate.wire import Plan

    settings = load_settings()
    folder = settings.tenants_dir / tenant
    described = _read_toml(folder / "tenant.toml")
    if described.get("cell") != settings.cell:
        raise click.ClickException(
            f"{tenant} lives in {described.get('cell')}, these are the settings of {settings.cell}"
        )
    slugs = plugins or tuple(str(slug) for slug in described["plugins"])
    configs = {slug: _read_toml(folder / "plugins" / f"{slug}.toml") for slug in slugs}
    known = _read_toml(require(settings, "secrets_file"))
    try:
        vendors = tuple(
            vendor for slug, config in configs.items() if (vendor := make_vendor(slug, config, known)) is not None
        )
        senders = find_senders(configs, known)
    except KeyError as error:
        raise click.ClickException(f"{error} is missing in a plugin's configuration or among the secrets") from None
    if not vendors:
        raise click.ClickException(f"none of {', '.join(slugs) or 'no plugins'} is spoken by the traffic source")
    for vendor in vendors:
        vendor.plant(books_fault or "")
    gateway = urlsplit(str(configs[vendors[0].plugin]["gateway_url"]))
    plan = Plan(
        target=target or str(_read_toml(settings.cell_file)["address"]),
        domain=domain or str(described["brands"][0]["domains"][0]),
        tenant=tenant,
        vendors=vendors,
        senders=senders,
        operator_token=require(settings, "operator_token"),
        host="127.0.0.1",
        port=port or gateway.port or 80,
        rate=settings.simulate_rate if rate is None else rate,
        players=players,
        seconds=seconds,
        calls=calls,
        seed=seed or secrets.token_hex(4),
        duplicate_percent=duplicates,
        replay_percent=replays,
        bad_signature_percent=bad_signatures,
    )
    spoken = ", ".join(vendor.plugin for vendor in vendors)
    click.echo(f"{spoken} on port {plan.port}, platform at {plan.target}, seed {plan.seed}", err=True)
    summary = asyncio.run(Run(plan).execute())
    for line in _describe(summary, as_json=as_json):
        click.echo(line)
    sys.exit(1 if summary.mismatches else 0)


def _describe(summary: Summary, *, as_json: bool) -> list[str]:
    import msgspec

    if as_json:
        return [msgspec.json.encode(summary).decode()]
    return [f"{name:<18} {value}" for name, value in msgspec.structs.asdict(summary).items()]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise click.ClickException(f"{path} is not TOML: {error}") from None
