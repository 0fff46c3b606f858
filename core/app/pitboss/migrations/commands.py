"""`pitboss db`: provision, migrate, compare and extend the databases."""

from __future__ import annotations

import asyncio
import sys

import click
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from pitboss.migrations.catalog import find_drift
from pitboss.migrations.provision import list_open_databases, provision
from pitboss.migrations.schema import Plane
from pitboss.migrations.upgrade import alembic_config, upgrade
from pitboss.permissions.service import deployment_command
from pitboss.platform.db import parse_url
from pitboss.platform.settings import Settings, load_settings, require

PLANES = click.Choice(["control", "cell"])


@click.group("db")
def db() -> None:
    """Provision and migrate the databases of control and of a cell."""


@db.command("provision")
@click.argument("plane", type=PLANES)
@deployment_command("platform.database.configure")
def provision_command(plane: Plane) -> None:
    """Make roles, logins and the database; needs PITBOSS_ADMIN_DATABASE_URL."""
    settings = load_settings()
    admin_url, urls = require(settings, "admin_database_url"), _urls(settings, plane)
    name = asyncio.run(provision(admin_url, urls, settings.backup_database_url if plane == "cell" else None))
    click.echo(f"database {name} is provisioned")
    others = asyncio.run(list_open_databases(admin_url, urls))
    if others:
        click.echo(f"on this server everybody, and so its logins too, may connect to {', '.join(others)}")


@db.command("migrate")
@click.argument("plane", type=PLANES)
@deployment_command("platform.database.configure")
def migrate_command(plane: Plane) -> None:
    """Bring the database to the newest version, with policies, grants, functions and triggers: all, or nothing."""
    settings = load_settings()
    keys = settings.context_keys if plane == "cell" else ()
    version = asyncio.run(upgrade(_migrate_url(settings, plane), plane, keys))
    click.echo(f"{plane} is at version {version}")


@db.command("drift")
@click.argument("plane", type=PLANES)
@deployment_command("platform.database.configure")
def drift_command(plane: Plane) -> None:
    """Compare the live guards with the code; exits 1 on a finding. Locks the tables for a moment."""
    findings = asyncio.run(find_drift(_migrate_url(load_settings(), plane), plane))
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} differences")
    sys.exit(1 if findings else 0)


@db.command("revision")
@click.argument("plane", type=PLANES)
@click.option("-m", "--message", required=True, help="What the migration does, in a few words.")
@deployment_command("platform.database.configure")
def revision_command(plane: Plane, message: str) -> None:
    """Write a migration from the difference between the tables in code and the migrated database."""
    asyncio.run(_revise(_migrate_url(load_settings(), plane), plane, message))


async def _revise(url: str, plane: Plane, message: str) -> None:
    engine = create_async_engine(parse_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text("set role pitboss_owner"))
        await connection.run_sync(
            lambda sync: command.revision(alembic_config(plane, sync), message=message, autogenerate=True)
        )
    await engine.dispose()


def _migrate_url(settings: Settings, plane: Plane) -> str:
    return require(settings, "control_migrate_url" if plane == "control" else "cell_migrate_url")


def _urls(settings: Settings, plane: Plane) -> dict[str, str]:
    if plane == "control":
        return {
            "pitboss_app": require(settings, "control_database_url"),
            "pitboss_seq": require(settings, "control_sequencer_database_url"),
            "pitboss_migrate": require(settings, "control_migrate_url"),
        }
    return {
        "pitboss_app": require(settings, "cell_database_url"),
        "pitboss_worker": require(settings, "cell_worker_database_url"),
        "pitboss_relay": require(settings, "cell_relay_database_url"),
        "pitboss_seq": require(settings, "cell_sequencer_database_url"),
        "pitboss_migrate": require(settings, "cell_migrate_url"),
    }
