"""The composition root: the only module that knows every part and puts them together."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import click
import msgspec

from pitboss_sdk.errors import PitbossError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pitboss.directory.contracts import PublicKey
    from pitboss.directory.runtime import Directory
    from pitboss.keys.runtime import KeyRing
    from pitboss.platform.db import ContextSigner, ControlDatabase, Database
    from pitboss.platform.redis import CellRedis
    from pitboss.platform.settings import NamedKey, Settings
    from pitboss.platform.telemetry import CallRate, Metrics, Readiness
    from pitboss.plughost.contracts import LoadedPlugin
    from pitboss.plughost.runtime import Drivers, Receivers
    from pitboss.policy.runtime import Policies
    from pitboss.wallet.runtime import Lanes
    from pitboss.web.app import Front
    from pitboss.web.wallet_route import WalletRoute
    from pitboss.web.webhooks import WebhookDesk
    from pitboss.worker.jobs import JobRegistry

COMMANDS: Final = {
    "run": ("pitboss.cli.run:run", "Start the whole platform on this machine."),
    "stop": ("pitboss.cli.run:stop", "Stop what `run` started here."),
    "reset": ("pitboss.cli.run:reset", "Throw away the local state."),
    "doctor": ("pitboss.cli.doctor:doctor", "Say what is wrong with this machine and what to do."),
    "db": ("pitboss.migrations.commands:db", "Provision and migrate the databases."),
    "tenant": ("pitboss.cli.tenant:tenant", "Check, plan and apply tenants from files."),
    "plugin": ("pitboss.cli.plugin:plugin", "List and check plugins."),
    "pack": ("pitboss.cli.pack:pack", "List and check jurisdiction packs, and begin a new one."),
    "policy": ("pitboss.cli.policy:policy", "Say what applies to a tenant's players."),
    "player": ("pitboss.cli.player:player", "Operate on one player."),
    "ledger": ("pitboss.cli.ledger:ledger", "Verify the ledger."),
    "subject": ("pitboss.cli.subject:subject", "Answer data subjects: export, correct, restrict, erase."),
    "keys": ("pitboss.cli.keys:keys", "See and change the epochs of a tenant's keys."),
    "audit": ("pitboss.cli.audit:audit", "Read the audit log."),
    "rounds": ("pitboss.cli.rounds:rounds", "Prove rounds and payments by their sealed log."),
    "quality": ("pitboss.cli.quality:quality", "See how whole and right a tenant's records are."),
    "permission": ("pitboss.cli.permission:permission", "See which role holds what."),
    "retention": ("pitboss.cli.retention:retention", "Keep, hold and destroy records as the law says."),
    "backup": ("pitboss.cli.backup:backup", "Copy a cell, and bring it back as it was at a moment."),
    "siem": ("pitboss.cli.siem:siem", "Send the events of a tenant to a SIEM."),
    "webhook": ("pitboss.cli.webhook:webhook", "See and try again what vendors told in vain."),
    "web": ("pitboss.cli.web:web", "Serve HTTP."),
    "worker": ("pitboss.cli.worker:worker", "Work off jobs."),
    "relay": ("pitboss.cli.worker:relay", "Hand due jobs from the outbox to the broker."),
    "archive": ("pitboss.cli.archive:archive", "Receive the cell's write-ahead log into its backups."),
    "sequencer": ("pitboss.cli.sequencer:sequencer", "Put audit events into the logs that prove them."),
    "witness": ("pitboss.cli.witness:witness", "Sign what audit logs grew to, apart from the platform."),
    "simulate": ("pitboss.cli.simulate:simulate", "Play the aggregator and the players over HTTP."),
}
"""Every command, with the place it is loaded from when it is asked for, so that small commands start fast."""


class LazyGroup(click.Group):
    """The command tree; a command is imported when it runs or its own help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: Any = getattr(importlib.import_module(module), attribute)
        if isinstance(ctx.obj, Services) and "structlog" in sys.modules:  # by itself it prints whatever it is told
            from pitboss.platform.telemetry import Metrics, configure_logging

            configure_logging("command", "warning", Metrics())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click names it
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


LOGIN_OF: Final[dict[str, Literal["cell_database_url", "cell_worker_database_url", "cell_relay_database_url"]]] = {
    "web": "cell_database_url",
    "worker": "cell_worker_database_url",
    "relay": "cell_relay_database_url",
}
"""The login that each process of a cell uses; each may do only what its work needs."""
ANNOUNCE_SECONDS: Final = 5
WORKER_LANE: Final = 1000
"""The number under which a worker's batches are booked; those of web processes count from 0."""
DISTRIBUTE_SECONDS: Final = 1
"""How soon a directory that control has signed is on its way to its cell."""
RENEW_SECONDS: Final = 300
"""How soon a new signing key of control, or what an apply did not finish, shows in what it publishes."""
ENDPOINT_SECONDS: Final = 2
"""How soon a plugin that is enabled, configured or switched off shows in the wallet route."""


class CellGround(msgspec.Struct, frozen=True):
    """What every process of a cell stands on."""

    database: Database
    directory: Directory
    metrics: Metrics
    rate: CallRate
    readiness: Readiness
    redis: CellRedis
    signer: ContextSigner
    url: str
    ring: KeyRing


class Services:
    """The processes that serve until a signal; the commands get this and know nothing of how they are made."""

    def serve_cell(self, settings: Settings) -> None:
        """Serve the web of a cell."""
        _run(settings, "web", _serve_cell)

    def serve_control(self, settings: Settings) -> None:
        """Serve the web of the control plane."""
        _run(settings, "control", _serve_control)

    def run_worker(self, settings: Settings) -> None:
        """Run the jobs of a cell."""
        _run(settings, "worker", _run_worker)

    def run_relay(self, settings: Settings) -> None:
        """Relay the jobs of a cell."""
        _run(settings, "relay", _run_relay)


def _run(settings: Settings, process: str, main: Callable[[Settings, Metrics], Coroutine[Any, Any, None]]) -> None:
    """Run a process with its metrics, its log lines on their way through the allow-list, and its traces."""
    import uvloop

    from pitboss.platform.telemetry import Metrics, configure_logging
    from pitboss.platform.traces import open_tracing

    metrics = Metrics()
    configure_logging(process, settings.log_level, metrics)
    with open_tracing(settings, process, metrics):
        uvloop.run(main(settings, metrics))


async def _serve_cell(settings: Settings, metrics: Metrics) -> None:
    from pitboss.web.server import calm_collector, serve

    async with open_cell_web(settings, metrics) as front:
        calm_collector()
        await serve(front, settings.host, settings.port)


@asynccontextmanager
async def open_cell_web(settings: Settings, metrics: Metrics) -> AsyncGenerator[Front]:
    """Open the web of a cell as an ASGI application that serves while the block runs."""
    from pitboss.hosting.runtime import CellDesk
    from pitboss.platform.secrets import SecretStore
    from pitboss.platform.settings import require
    from pitboss.plughost.runtime import Drivers, HealthBoard, load_host, read_cell_file
    from pitboss.policy.runtime import Policies
    from pitboss.web.app import CellParts, Front, create_cell_app
    from pitboss.web.calls import CallDesk
    from pitboss.web.controllers.audit import AuditController
    from pitboss.web.controllers.bonus import AwardController, OwnAwardController
    from pitboss.web.controllers.games import GameController, RoundController
    from pitboss.web.controllers.limits import LimitController, OwnLimitController
    from pitboss.web.controllers.operators import OperatorController
    from pitboss.web.controllers.players import OwnAccountController, VisitorController
    from pitboss.web.status_source import CellStatusSource

    async with lay_cell_ground(settings, "web", metrics) as ground:
        plugins = load_host(read_cell_file(settings.cell_file))
        policies = Policies(plugins.packs)
        lanes = _make_lanes(settings, ground, policies)
        board = HealthBoard(ground.redis, f"web-{os.getpid()}")
        drivers = Drivers(plugins.plugins, SecretStore(settings.secrets_file), metrics, board)
        source = CellStatusSource(
            database=ground.database,
            directory=ground.directory,
            locality=settings.locality,
            plugins=plugins,
            rate=ground.rate,
            readiness=ground.readiness,
            redis=ground.redis,
            health=board,
        )
        desk = CellDesk(
            ground.database,
            locality=settings.locality,
            host=plugins,
            directory_keys=_public(settings.directory_public_keys),
            secrets=SecretStore(settings.secrets_file) if settings.secrets_file is not None else None,
            ring=ground.ring,
        )
        parts = CellParts(
            database=ground.database,
            directory=ground.directory,
            call_desk=CallDesk(settings.cell, _public(settings.call_public_keys), ground.redis, desk),
            metrics=ground.metrics,
            readiness=ground.readiness,
            operator_token=require(settings, "operator_token"),
            status_source=source,
            webhook_desk=_make_webhook_desk(settings, ground, plugins.plugins),
            controllers=(
                VisitorController,
                OwnAccountController,
                OperatorController,
                GameController,
                RoundController,
                LimitController,
                OwnLimitController,
                AwardController,
                OwnAwardController,
                AuditController,
            ),
            resources={"lanes": lanes, "drivers": drivers, "policies": policies, **_parts(settings, ground, plugins)},
        )
        try:
            async with _open_wallet_route(settings, ground, plugins.plugins, lanes, policies) as wallet_route:
                yield Front(create_cell_app(parts), metrics, wallet_route)
        finally:
            await drivers.close()


def _parts(settings: Settings, ground: CellGround, plugins: Any) -> dict[str, Any]:
    """Return what pages of operators ask for by name, beside what every handler may."""
    from pitboss.platform.objects import ObjectFolder

    return {"packs": plugins.packs, "objects": ObjectFolder(settings.objects_dir, settings.cell), "keys": ground.ring}


@asynccontextmanager
async def _open_wallet_route(
    settings: Settings, ground: CellGround, plugins: Mapping[str, LoadedPlugin], lanes: Lanes, policies: Policies
) -> AsyncGenerator[WalletRoute]:
    """Start the lanes and keep the callback addresses fresh while the block runs."""
    from functools import partial

    from pitboss.games.runtime import Endpoints, Holders
    from pitboss.platform.background import Repeating, keep_repeating
    from pitboss.platform.db import LaneConnection
    from pitboss.platform.secrets import SecretStore
    from pitboss.web.wallet_listener import listen
    from pitboss.web.wallet_route import WalletRoute, renew_endpoints

    endpoints = Endpoints(plugins, SecretStore(settings.secrets_file))
    holders = Holders(LaneConnection(ground.url, "pitboss holders", ground.signer))
    renew = partial(renew_endpoints, endpoints, policies, ground.database, ground.directory)
    route = WalletRoute(endpoints, holders, lanes, ground.directory, ground.metrics)
    lanes.start()
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(keep_repeating(Repeating("endpoints.refresh", ENDPOINT_SECONDS, renew)))
            if settings.wallet_port is not None:
                await stack.enter_async_context(listen(route, settings.host, settings.wallet_port))
            yield route
    finally:
        await lanes.close()
        await holders.close()


def _make_webhook_desk(settings: Settings, ground: CellGround, plugins: Mapping[str, LoadedPlugin]) -> WebhookDesk:
    from pitboss.platform.secrets import SecretStore
    from pitboss.plughost.runtime import Receivers
    from pitboss.web.webhooks import WebhookDesk

    receivers = Receivers(plugins, SecretStore(settings.secrets_file))
    return WebhookDesk(ground.database, ground.directory, receivers, ground.metrics)


def _make_lanes(settings: Settings, ground: CellGround, policies: Policies) -> Lanes:
    from pitboss.platform.db import LaneConnections
    from pitboss.wallet.runtime import DatabasePoster, Lane, Lanes

    lanes: list[Lane] = []
    for number in range(settings.lanes):
        connection = LaneConnections(ground.url, f"pitboss lane {number}", ground.signer)
        poster = DatabasePoster(number, connection, laws=policies.laws)
        lanes.append(Lane(poster, observe_batch=ground.metrics.lane_batch_calls.observe))
    ground.metrics.lane_oldest_seconds.set_function(lambda: max(lane.oldest_wait_ms() for lane in lanes) / 1000)
    return Lanes(lanes)


async def _serve_control(settings: Settings, metrics: Metrics) -> None:
    from pitboss.web.server import serve

    async with open_control_web(settings, metrics) as front:
        await serve(front, settings.host, settings.port)


@asynccontextmanager
async def open_control_web(settings: Settings, metrics: Metrics) -> AsyncGenerator[Front]:
    """Open the web of the control plane as an ASGI application that serves while the block runs."""
    from pitboss.platform.db import ControlDatabase, create_engine
    from pitboss.platform.settings import require
    from pitboss.platform.telemetry import Readiness
    from pitboss.web.app import ControlParts, Front, create_control_app
    from pitboss.web.status_source import ControlStatusSource

    engine = create_engine(require(settings, "control_database_url"))
    database = ControlDatabase(engine)
    readiness = Readiness({"database": lambda: _reach(engine)})
    parts = ControlParts(
        metrics=metrics,
        readiness=readiness,
        operator_token=settings.operator_token or "",
        status_source=ControlStatusSource(database, readiness),
    )
    try:
        async with _distribute_directories(settings, database, metrics):
            yield Front(create_control_app(parts), metrics)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _distribute_directories(
    settings: Settings, database: ControlDatabase, metrics: Metrics
) -> AsyncGenerator[None]:
    """Keep every cell's directory signed and sent while the block runs; without a key for calls, do nothing."""
    from pitboss.directory.contracts import SigningKey
    from pitboss.hosting.runtime import Distributor
    from pitboss.platform.background import Repeating, keep_repeating
    from pitboss.platform.settings import require

    call_key = settings.call_signing_key
    if call_key is None:
        yield
        return
    directory_key = require(settings, "directory_signing_key")
    distributor = Distributor(
        database,
        directory_key=SigningKey(directory_key.key_id, directory_key.raw),
        call_key=SigningKey(call_key.key_id, call_key.raw),
        metrics=metrics,
    )
    async with keep_repeating(
        Repeating("directory.renew", RENEW_SECONDS, distributor.renew),
        Repeating("directory.distribute", DISTRIBUTE_SECONDS, distributor.distribute),
    ):
        yield


def _public(keys: tuple[NamedKey, ...]) -> tuple[PublicKey, ...]:
    from pitboss.directory.contracts import PublicKey

    return tuple(PublicKey(key.key_id, key.raw) for key in keys)


async def _run_worker(settings: Settings, metrics: Metrics) -> None:
    from pitboss.platform.broker import create_broker
    from pitboss.platform.db import LaneConnections
    from pitboss.platform.probes import Probes
    from pitboss.platform.secrets import SecretStore
    from pitboss.platform.settings import require
    from pitboss.plughost.runtime import Drivers, HealthBoard, Receivers, load_host, read_cell_file
    from pitboss.wallet.runtime import DatabasePoster, Lane, Lanes
    from pitboss.worker.process import run_worker
    from pitboss.worker.runner import JobRunner, JobWorker
    from pitboss.worker.siem import keep_exporting

    async with lay_cell_ground(settings, "worker", metrics) as ground:
        lanes = Lanes(
            [Lane(DatabasePoster(WORKER_LANE, LaneConnections(ground.url, "pitboss worker lane", ground.signer)))]
        )
        plugins, secrets = load_host(read_cell_file(settings.cell_file)).plugins, SecretStore(settings.secrets_file)
        drivers = Drivers(plugins, secrets, ground.metrics, HealthBoard(ground.redis, f"worker-{os.getpid()}"))
        jobs = create_jobs(settings, ground, lanes, drivers, Receivers(plugins, secrets))
        runner = JobRunner(ground.database, ground.directory, jobs, ground.metrics)
        broker = create_broker(require(settings, "redis_url"), settings.cell)
        worker = JobWorker(broker, runner, asyncio.get_running_loop())
        ground.readiness.add("consumers", worker.find_problem)
        lanes.start()
        try:
            async with (
                Probes(ground.metrics, ground.readiness).serve(settings.host, settings.metrics_port),
                keep_exporting(ground.database, ground.directory, secrets, ground.metrics),
            ):
                await run_worker(worker)
        finally:
            await lanes.close()
            await drivers.close()


async def _run_relay(settings: Settings, metrics: Metrics) -> None:
    from pitboss.platform.broker import create_broker
    from pitboss.platform.probes import Probes
    from pitboss.platform.secrets import SecretStore
    from pitboss.platform.settings import require
    from pitboss.plughost.runtime import Drivers, Receivers
    from pitboss.wallet.runtime import Lanes
    from pitboss.worker.process import run_relay
    from pitboss.worker.relay import Relay

    async with lay_cell_ground(settings, "relay", metrics) as ground:
        broker = create_broker(require(settings, "redis_url"), settings.cell)
        # It runs none of them, so what they would work with may be empty.
        jobs = create_jobs(
            settings, ground, Lanes([]), Drivers({}, SecretStore(None)), Receivers({}, SecretStore(None))
        )
        relay = Relay(ground.database, ground.directory, broker, jobs.list_periods(), ground.metrics)
        async with Probes(ground.metrics, ground.readiness).serve(settings.host, settings.metrics_port):
            await run_relay(relay)


def create_jobs(
    settings: Settings, ground: CellGround, lanes: Lanes, drivers: Drivers, receivers: Receivers
) -> JobRegistry:
    """Return every job of a cell; the relay reads the periods of the same table that the worker runs."""
    from pitboss.worker.registry import JobParts, register_jobs

    parts = JobParts(
        settings, ground.database, ground.directory, ground.metrics, ground.ring, lanes, drivers, receivers
    )
    return register_jobs(parts)


@asynccontextmanager
async def lay_cell_ground(settings: Settings, process: str, metrics: Metrics) -> AsyncGenerator[CellGround]:
    """Open database, directory and Redis of a cell process and keep them fresh while the block runs."""
    from functools import partial

    from pitboss.directory.runtime import REFRESH_SECONDS, Directory
    from pitboss.keys.runtime import open_ring
    from pitboss.platform.background import Repeating, keep_repeating
    from pitboss.platform.context_check import find_context_problem
    from pitboss.platform.db import ContextSigner, Database, create_engine
    from pitboss.platform.pulse import Pulse
    from pitboss.platform.redis import CellRedis
    from pitboss.platform.settings import require, require_all
    from pitboss.platform.telemetry import CallRate, Readiness

    asked = (LOGIN_OF[process], "context_keys", "directory_public_keys", "redis_url")
    require_all(settings, *asked, *(("operator_token",) if process == "web" else ()))
    url = require(settings, LOGIN_OF[process])
    signer = ContextSigner(require(settings, "context_keys"))
    engine = create_engine(url)
    database = Database(engine, settings.cell, signer)
    directory = Directory(settings.cell, _public(require(settings, "directory_public_keys")))
    redis = CellRedis(require(settings, "redis_url"), settings.cell)
    rate = CallRate(metrics)
    readiness = Readiness(
        {
            "database": partial(find_context_problem, database),
            "directory": directory.find_problem,
            "redis": redis.find_problem,
        }
    )
    pulse = Pulse(process, redis=redis, readiness=readiness, rate=rate, metrics=metrics)
    metrics.directory_version.set_function(lambda: directory.version)
    metrics.directory_age_seconds.set_function(lambda: directory.age_seconds() or 0)
    repeated = (
        Repeating("directory.refresh", REFRESH_SECONDS, partial(directory.refresh, database)),
        Repeating("process.announce", ANNOUNCE_SECONDS, pulse.beat),
    )
    try:
        async with open_ring(settings, is_used=process != "relay") as ring, keep_repeating(*repeated):
            yield CellGround(database, directory, metrics, rate, readiness, redis, signer, url, ring)
    finally:
        await redis.close()
        await engine.dispose()


async def _reach(engine: AsyncEngine) -> str:
    async with engine.connect():  # the pool asks the server before it gives a connection out
        return ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pitboss", prog_name="pitboss")
def cli() -> None:
    """Run and operate Pitboss, an open iGaming back office."""


def main() -> None:
    """Run the command line; a known situation prints its code and detail and exits with 1."""
    try:
        cli(prog_name="pitboss", obj=Services())
    except PitbossError as error:
        sys.exit(f"pitboss: {error.code}: {error.detail}" if error.detail else f"pitboss: {error.code}")
    except OSError as error:  # a folder that is not there, a file that may not be written
        sys.exit(f"pitboss: {error}")


if __name__ == "__main__":
    main()
