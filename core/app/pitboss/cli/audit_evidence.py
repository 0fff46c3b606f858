"""`pitboss audit package`, `verify`, `prove`, `check`, `checkpoint` and `keys`: the log as evidence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import CONTROL_SCOPE
from pitboss.cli.cell import get_scope, open_cell
from pitboss.cli.reading import record_export
from pitboss.kernel.scope import TenantScope
from pitboss.permissions.service import deployment_command
from pitboss.platform.db import ControlDatabase, create_engine
from pitboss.platform.settings import load_settings, require

_MOMENT = "a day or a moment (ISO 8601), such as 2026-11-21 or 2026-11-21T14:00+01:00"


def read_moment(_context: click.Context, _parameter: click.Parameter, value: str) -> datetime | None:
    """Return the moment of an option; UTC where no zone is given."""
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(_MOMENT) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@asynccontextmanager
async def _open(
    slug: str, given_out: Mapping[str, object] | None = None
) -> AsyncGenerator[tuple[AsyncSession, TenantScope]]:
    """Open one moment of a tenant's log, or of control's own where no tenant is named.

    What is `given_out` of a tenant's, an event or a span, is recorded first.
    """
    if not slug:
        engine = create_engine(require(load_settings(), "control_database_url"), pool_size=1)
        one_moment = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        try:
            async with ControlDatabase(one_moment).transaction() as session:
                yield session, CONTROL_SCOPE
        finally:
            await engine.dispose()
        return
    async with open_cell(load_settings()) as (database, directory):
        scope = get_scope(directory, slug)
        if given_out is not None:
            ids = [str(given_out[name]) for name in given_out if name == "event"]
            await record_export(database, scope, "audit.exported", slug, ids, query=given_out)
        async with database.snapshot(scope) as session:
            yield session, scope


def _of_log(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take a tenant, or `--control`; it is given the tenant's slug, empty for control."""

    @click.argument("tenant", default="")
    @click.option("--control", is_flag=True, help="The control plane's own log instead of a tenant's.")
    @wraps(command)
    def run(*arguments: Any, tenant: str, control: bool, **named: Any) -> None:
        if control == bool(tenant):
            raise click.UsageError("name a tenant, or give --control")
        command(*arguments, tenant=tenant, **named)

    return run


@click.command("package")
@_of_log
@click.option("--into", type=click.Path(path_type=Path), required=True, help="A folder that does not exist yet.")
@click.option("--from", "begin", default="", callback=read_moment, help="The first day or moment; UTC without a zone.")
@click.option("--to", "end", default="", callback=read_moment, help="The day or moment after the last.")
@click.option("--since", type=click.Path(path_type=Path, exists=True), help="The auditor's last checkpoint.")
@click.option("--after", type=click.Path(path_type=Path, exists=True), help="The package before this one.")
@deployment_command("audit.event.view")
def package_command(
    tenant: str, into: Path, begin: datetime | None, end: datetime | None, since: Path | None, after: Path | None
) -> None:
    """Write a signed package of a tenant's log: what it takes to check it, and nothing else."""
    from pitboss.audit.runtime import FileSigner, PackageOrder, write_package

    previous = None if after is None else sha256(_manifest_of(after).read_bytes()).hexdigest()
    size = None if since is None else _size_of(since)
    order = PackageOrder(size, begin, end, previous)
    signer = FileSigner(require(load_settings(), "audit_keys_file"))

    async def write() -> None:
        async with _open(tenant, {"begin": begin, "end": end, "since": size}) as (session, scope):
            packed = await write_package(session, scope, signer, into, order)
        click.echo(f"{packed.origin}: entries {packed.first} to {packed.end - 1} in {into}, manifest {packed.manifest}")

    if into.exists():
        raise click.UsageError(f"{into} exists; a package is never written over")
    asyncio.run(write())


def _manifest_of(package: Path) -> Path:
    manifest = package / "manifest.json"
    if not manifest.is_file():
        raise click.BadParameter(f"{package} is no package: it has no manifest.json", param_hint="--after")
    return manifest


def _size_of(note: Path) -> int:
    from pitboss_verify.note import parse_checkpoint

    try:
        return parse_checkpoint(note.read_text()).size
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{note} is no checkpoint: {error}", param_hint="--since") from None


@click.command("verify")
@click.argument("package")
@click.option("--keys", type=click.Path(path_type=Path), required=True, help="Public keys of the log and its witness.")
@click.option("--since", type=click.Path(path_type=Path), help="The checkpoint of the last visit.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@deployment_command("audit.event.view")
def verify_command(package: str, keys: Path, since: Path | None, as_json: bool) -> None:
    """Check a package, an archive, or the proof of one event: 0 sound, 1 findings, 2 not checked. Needs no platform.

    An archive is the folder of a local write-once store, or `s3:<bucket>@<region>`, whose locks are looked at too.
    """
    from pitboss_verify.command import run

    words = [package, "--keys", str(keys)]
    words += ["--since", str(since)] if since else []
    store = None
    if package.startswith("s3:"):
        from pitboss.cli.bucket import BucketStore

        store = BucketStore.open(package)
    sys.exit(run([*words, *(["--json"] if as_json else [])], store))


@click.command("prove")
@click.argument("tenant")
@click.argument("event", type=click.UUID)
@deployment_command("audit.event.view")
def prove_command(tenant: str, event: UUID) -> None:
    """Print the proof that one event is in the log, as JSON that `verify` reads."""
    from pitboss.audit.runtime import prove_event

    async def prove() -> None:
        async with _open(tenant, {"event": event}) as (session, scope):
            click.echo((await prove_event(session, scope, event)).decode())

    asyncio.run(prove())


@click.command("checkpoint")
@_of_log
@deployment_command("audit.event.view")
def checkpoint_command(tenant: str) -> None:
    """Print the newest checkpoint: an auditor keeps it until the next visit."""
    from pitboss.audit.runtime import read_last_note

    async def show() -> None:
        async with _open(tenant) as (session, scope):
            click.echo(await read_last_note(session, scope), nl=False)

    asyncio.run(show())


@click.command("check")
@_of_log
@deployment_command("audit.event.view")
def check_command(tenant: str) -> None:
    """Hold the log's tables against each other and against the events as they stand; exit with 1 on a finding."""
    from pitboss.audit.runtime import list_faults

    async def check() -> list[str]:
        async with _open(tenant) as (session, scope):
            return await list_faults(session, scope)

    faults = asyncio.run(check())
    for fault in faults:
        click.echo(fault)
    outcome = f"{len(faults)} findings" if faults else "events, entries, tiles and checkpoints agree"
    click.echo(f"{tenant or CONTROL_SCOPE.cell}: {outcome}")
    sys.exit(1 if faults else 0)


@click.command("keys")
@_of_log
@deployment_command("audit.event.view")
def keys_command(tenant: str) -> None:
    """Print the public keys of a tenant's log and of its witness, as an auditor is given them once."""
    from pitboss.audit.runtime import describe_keys, origin_of, read_key_file

    settings = load_settings()
    origin = origin_of(settings.cell, tenant) if tenant else origin_of(CONTROL_SCOPE.cell, CONTROL_SCOPE.slug)
    keys = [key.public_key().public_bytes_raw() for key in read_key_file(require(settings, "audit_keys_file"))]
    for line in describe_keys(origin, keys):
        click.echo(line)
    if settings.witness:
        click.echo(settings.witness.partition(" ")[2])


COMMANDS = (package_command, verify_command, prove_command, checkpoint_command, check_command, keys_command)
"""What `pitboss audit` offers beside the list."""
