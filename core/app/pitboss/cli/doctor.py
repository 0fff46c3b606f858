"""`pitboss doctor`: what this machine has, what is wrong, and what to do about it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import urlsplit

import click
import msgspec

from pitboss.cli.stack import BLOCK, DATABASE_FIELDS, find_cells, list_ports
from pitboss.cli.state import MARK, State
from pitboss.cli.supervisor import fetch
from pitboss.keys.runtime import open_ring
from pitboss.permissions.service import deployment_command
from pitboss.platform.embedded import PostgresServer, find_redis_server, wheel_binaries
from pitboss.platform.keys.service import KeyMissing
from pitboss.platform.processes import is_port_free, processes_in, processes_marked
from pitboss.platform.settings import Settings, SettingsInvalid, load_settings, variable
from pitboss_sdk.errors import PitbossError

LIBRARIES = ("litestar", "granian", "sqlalchemy", "asyncpg", "msgspec", "redis", "dramatiq", "alembic", "stevedore")
_MIN_FREE_GIB = 2
_TIMEOUT_SECONDS = 3


class Finding(msgspec.Struct, frozen=True):
    """One line of the table. `advice` says what to do when it is not ok."""

    subject: str
    verdict: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""


@click.command("doctor")
@deployment_command("platform.status.view")
def doctor() -> None:
    """Look at versions, settings, ports, disk, servers and processes; exits 1 if something fails."""
    findings: list[Finding] = []
    for check in (_python, _settings):
        findings += _guarded(check)
    try:
        settings = load_settings()
    except PitbossError:
        settings = Settings()
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _programs,
        _libraries,
        _disk,
        _files,
        _ports_and_processes,
        _servers,
        _key_services,
    )
    for settings_check in checks:
        findings += _guarded(lambda settings_check=settings_check: settings_check(settings))
    for finding in findings:
        click.echo(f"{finding.verdict:<5} {finding.subject:<18} {finding.detail}")
        if finding.verdict != "ok" and finding.advice:
            click.echo(f"{'':24} → {finding.advice}")
    failed = sum(finding.verdict == "fail" for finding in findings)
    warned = sum(finding.verdict == "warn" for finding in findings)
    click.echo(f"{len(findings)} looked at, {warned} warnings, {failed} failures")
    sys.exit(1 if failed else 0)


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; one that breaks is a finding of its own."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except (PitbossError, OSError, subprocess.SubprocessError) as error:
        found.append(Finding("check", "fail", str(error)))
    return found


def _python() -> Iterator[Finding]:
    fits = sys.implementation.name == "cpython" and sys.version_info[:2] in {(3, 11), (3, 12)}
    detail = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Finding("python", "ok" if fits else "fail", detail, "use CPython 3.11 or 3.12")


def _settings() -> Iterator[Finding]:
    try:
        given = load_settings().given
    except PitbossError as error:
        yield Finding("settings", "fail", error.detail, "correct the variable, or unset it")
        return
    yield Finding("settings", "ok", ", ".join(sorted(variable(field) for field in given)) or "all at their defaults")


def _programs(settings: Settings) -> Iterator[Finding]:
    own_servers = "install it, or name servers of your own in the PITBOSS_*_URL settings"
    if not _external(settings):
        try:
            yield Finding("postgresql", "ok", _version([str(wheel_binaries() / "postgres"), "--version"]))
        except PitbossError as error:
            yield Finding("postgresql", "fail", error.detail, own_servers)
    if settings.redis_url is None:
        try:
            binary = find_redis_server()
            yield Finding("redis", "ok", f"{_version([str(binary), '--version'])[:60]} ({binary})")
        except PitbossError as error:
            yield Finding("redis", "fail", error.detail, own_servers)


def _libraries(_settings: Settings) -> Iterator[Finding]:
    found: list[str] = []
    for name in ("pitboss", "pitboss-sdk", *LIBRARIES):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                "libraries", "fail", f"{name} is not installed", "run `make run` or `make test`: both install"
            )
    yield Finding("libraries", "ok", ", ".join(found))


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.state_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free_gib = shutil.disk_usage(folder).free / 2**30
    verdict = "ok" if free_gib >= _MIN_FREE_GIB else "warn" if free_gib >= _MIN_FREE_GIB / 4 else "fail"
    yield Finding(
        "disk", verdict, f"{free_gib:.1f} GiB free for {settings.state_dir}", f"make {_MIN_FREE_GIB} GiB free"
    )


def _files(settings: Settings) -> Iterator[Finding]:
    try:
        cells = ", ".join(f"{cell.name} ({cell.locality})" for cell in find_cells(settings))
        yield Finding("cells", "ok", f"{cells} in {settings.cell_file.parent}")
    except SettingsInvalid as error:
        yield Finding("cells", "fail", error.detail, "run this in the project's folder")
    tenants = sorted(path.parent.name for path in settings.tenants_dir.glob("*/tenant.toml"))
    verdict = "ok" if tenants else "warn"
    yield Finding("tenants", verdict, ", ".join(tenants) or f"none in {settings.tenants_dir}", "add a folder for one")
    state = State(settings.state_dir)
    for path in (state.folder / "secrets.toml", *sorted(state.folder.glob("plugin-secrets-*.toml"))):
        if path.exists():
            private = path.stat().st_mode & 0o077 == 0
            yield Finding("secrets", "ok" if private else "fail", str(path), f"chmod 600 {path}")


def _ports_and_processes(settings: Settings) -> Iterator[Finding]:
    state = State(settings.state_dir)
    if not state.lock.is_held():
        leftovers = processes_marked(MARK, str(state.folder))
        if leftovers:
            yield Finding(
                "processes", "warn", f"left over: {', '.join(map(str, leftovers))}", "`pitboss stop` ends them"
            )
        ports = [settings.port + offset for offset in list_ports(settings, find_cells(settings))]
        busy = [port for port in ports if not is_port_free(port)]
        if busy:
            advice = (
                f"end what listens there, or set {variable('port')}; unset, `pitboss run` takes the next free block"
            )
            yield Finding("ports", "warn", f"in use: {', '.join(map(str, busy))}", advice)
        else:
            yield Finding("ports", "ok", f"{', '.join(map(str, ports))} are free")
        yield Finding("run", "ok", f"none is up for {state.folder}")
        return
    base = int(state.read_facts().get("port", settings.port))
    yield Finding("run", "ok", f"process {state.lock.holder()}, ports from {base}")
    shared = ("control", "control-sequencer", "witness")
    watched = [(name, base + BLOCK[name][0], name) for name in shared]
    for cell in find_cells(settings):
        watched += [
            (f"{name} of {cell.name}", base + BLOCK[name][cell.number], f"{cell.name}-{name}")
            for name in ("web", "worker", "relay", "sequencer")
        ]
    for name, port, log in watched:
        status, body = fetch(settings.host, port, "/readyz")
        answer = {200: "ready", 0: "does not answer"}.get(status, f"status {status}: {body[:120]}")
        advice = f"read {state.logs / log}.log"
        yield Finding(name, "ok" if status == 200 else "fail", f"port {port}: {answer}", advice)


def _servers(settings: Settings) -> Iterator[Finding]:
    """Whether the servers that settings name take connections, or those of a run if there is one."""
    for field in (*DATABASE_FIELDS, "admin_database_url", "redis_url"):
        url: str | None = getattr(settings, field)
        if url is None:
            continue
        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or (6379 if field == "redis_url" else 5432))
        name = f"{address[0]}:{address[1]}"
        try:
            socket.create_connection(address, timeout=_TIMEOUT_SECONDS).close()
        except OSError as error:
            yield Finding(field, "fail", f"{name}: {error}", "start that server, or correct the setting")
        else:
            yield Finding(field, "ok", f"{name} takes connections")
    state = State(settings.state_dir)
    if state.lock.is_held() and not _external(settings):
        server = PostgresServer(state.postgres)
        pids = processes_in(server.data)
        verdict = "ok" if pids else "fail"
        yield Finding("postgresql data", verdict, f"{server.data}: {len(pids)} processes", f"read {server.log}")


def _key_services(settings: Settings) -> Iterator[Finding]:
    """Whether the key service that settings name answers, or those of a run that has been here."""
    folders = sorted((State(settings.state_dir).folder / "keys").glob("*"))
    named = [settings.key_service] if "key_service" in settings.given else [f"file:{folder}" for folder in folders]
    for place in named:
        try:
            asyncio.run(_ask_keys(msgspec.structs.replace(settings, key_service=place)))
        except PitbossError as error:
            yield Finding(
                "key service",
                "fail",
                f"{place}: {error.detail}",
                "start it, or correct the setting: without it nobody registers or signs in",
            )
        else:
            yield Finding("key service", "ok", f"{place} answers")


async def _ask_keys(settings: Settings) -> None:
    async with open_ring(settings) as ring:
        try:
            await ring.service.describe("doctor")
        except KeyMissing:
            return  # it answered


def _external(settings: Settings) -> bool:
    return any(field in settings.given for field in DATABASE_FIELDS)


def _version(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS).stdout.strip()
