"""The processes of `pitboss run`: started in order, watched, restarted, and stopped with nothing left behind."""

from __future__ import annotations

import hashlib
import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec

from pitboss.cli.stack import (
    BLOCK,
    CELL_FIELDS,
    CONTROL_FIELDS,
    DATABASE_FIELDS,
    RunCell,
    Values,
    choose_block,
    find_cells,
    group_tenants,
    read_toml,
)
from pitboss.cli.state import MARK, State
from pitboss.platform.embedded import PostgresServer, RedisServer, postgres_version
from pitboss.platform.processes import (
    kill_all,
    kill_group,
    processes_marked,
    spawn,
    tail,
    wait_until,
)
from pitboss.platform.settings import Settings, SettingsInvalid, child_environ, variable
from pitboss_sdk.errors import ErrorKind, PitbossError

_READY_SECONDS: Final = 60
_STARTS_BEFORE_READY: Final = 3
_MAX_BACKOFF_SECONDS: Final = 30
_STEADY_SECONDS: Final = 60
_PATIENCE_SECONDS: Final = 8
_MAX_LOG_BYTES: Final = 20_000_000

_EVERYWHERE: Final = ("environment", "log_level", "host", "state_dir", "otlp_endpoint", "trace_one_in")
_CELL: Final = ("cell", "locality", "cell_file", "redis_url", "context_keys", "directory_public_keys")
_KEYS: Final = ("key_service", "key_service_token")
NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "control": ("control_database_url", "directory_signing_key", "call_signing_key", "operator_token"),
    "web": (
        *_CELL,
        "cell_database_url",
        "call_public_keys",
        "operator_token",
        "secrets_file",
        "objects_dir",
        *_KEYS,
        "lanes",
        "trace_wallet_one_in",
    ),
    "worker": (*_CELL, "cell_worker_database_url", "secrets_file", "mail_spool_dir", "objects_dir", *_KEYS),
    "relay": (*_CELL, "cell_relay_database_url"),
    "sequencer": (
        "cell",
        "locality",
        "context_keys",
        "directory_public_keys",
        "cell_sequencer_database_url",
        "audit_keys_file",
        "witness",
        "worm_store",
        "seal_seconds",
    ),
    "control-sequencer": ("control_sequencer_database_url", "audit_keys_file", "witness", "worm_store", "seal_seconds"),
    "witness": ("witness_file", "witness_dir"),
    "simulate": ("cell", "operator_token", "secrets_file", "tenants_dir", "simulate_rate"),
}
"""Settings that each process is given: no process holds a login that it does not use, none of another cell."""


class StepFailed(PitbossError):
    """A step of the start failed; the detail ends with what it logged."""

    code = "run.step_failed"
    kind = ErrorKind.UNAVAILABLE


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM arrived; nothing but the supervisor catches it."""


class Process(msgspec.Struct):
    """One supervised program and what became of it; `cell` is None for those of control."""

    name: str
    cell: RunCell | None
    arguments: tuple[str, ...]
    port: int
    environ: dict[str, str]
    child: Any = None
    started_at: float = 0.0
    restart_at: float = 0.0
    failures: int = 0

    @property
    def title(self) -> str:
        """What people call it."""
        if self.cell:
            return f"{self.name} of {self.cell.name}"
        return "control web" if self.name == "control" else self.name

    @property
    def label(self) -> str:
        """What files call it."""
        return f"{self.cell.name}-{self.name}" if self.cell else self.name


class Supervisor:
    """Runs servers, steps and processes of one state folder until it is told to stop."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.settings = settings
        self.state = state
        self.cells = find_cells(settings)
        self.base = choose_block(settings, self.cells)
        self.processes: list[Process] = []
        self._line_open = False
        self._steps: list[subprocess.Popen[bytes]] = []
        self._external = any(field in settings.given for field in DATABASE_FIELDS)
        self._postgres = (
            None if self._external else PostgresServer(state.postgres, self.port("postgres"), report=self._say)
        )
        self._redis = (
            {}
            if "redis_url" in settings.given
            else {cell.name: RedisServer(state.redis / cell.name, self.port("redis", cell)) for cell in self.cells}
        )

    def port(self, name: str, cell: RunCell | None = None) -> int:
        """Return the port of a process or server in this run's block."""
        return self.base + BLOCK[name][cell.number if cell else 0]

    def run(self) -> None:
        """Start everything, watch it, and stop it when a signal or a failure ends the run."""
        self._on_signals(_request_stop)
        started = time.monotonic()
        try:
            self._start()
            click.echo(f"\nPitboss runs after {time.monotonic() - started:.1f} s.")
            self._print_addresses()
            self._watch(started)
        except StopRequested:
            click.echo("\nstopping")
        finally:
            self._on_signals(self._kill_everything)
            self._stop()
            click.echo("stopped")

    def _start(self) -> None:
        self.clean_leftovers()
        self._rotate_logs()
        self.state.write_facts({"port": self.base})
        if self._postgres is not None:
            self._step(f"PostgreSQL {postgres_version()} on port {self._postgres.port}", self._postgres.start)
        if self._redis:
            ports = ", ".join(str(server.port) for server in self._redis.values())
            self._step(f"Redis on port {ports}", lambda: [server.start() for server in self._redis.values()])
        self._compose_values()
        self._provision()
        self._step(
            "databases at their newest version",
            lambda: self._commands(
                (self._values.control, "db migrate control"),
                *((self._values.cells[cell.name], "db migrate cell") for cell in self.cells),
            ),
        )
        self._define("control", None, "web", "control")
        for cell in self.cells:
            self._define("web", cell, "web", "cell")
            self._define("worker", cell, "worker")
            self._define("relay", cell, "relay")
            self._define("sequencer", cell, "sequencer")
        self._define("control-sequencer", None, "sequencer", "--control")
        self._define("witness", None, "witness")
        for process in self.processes:
            self._launch(process)
        # The cells do their half of an apply when control's half asks them to, and are ready once they have a directory.
        slugs = sorted(slug for found in self._tenants.values() for slug in found)
        if slugs:
            line = " ".join(["tenant apply", *slugs])
            self._step(f"tenants {', '.join(slugs)}", lambda: self._commands((self._values.control, line)))
        self._step(", ".join(process.title for process in self.processes), self._wait_until_ready)
        self._start_traffic()

    def _start_traffic(self) -> None:
        """Let the first tenant of each cell be played; a tenant's slug is its brand's and its aggregator's too."""
        if self.settings.simulate_rate == 0:
            return
        for cell in self.cells:
            for slug, domain in self._brands(cell)[:1]:
                target = f"http://{self.settings.host}:{self.port('web', cell)}"
                port = str(self.port("simulate", cell))
                words = ("--target", target, "--port", port, "--tenant", slug, "--domain", domain)
                self._define("simulate", cell, "simulate", *words)
                self._step(f"traffic for {slug}", lambda: self._launch(self.processes[-1]))

    def _compose_values(self) -> None:
        """Settings of the children: generated ones, replaced by those of our own environment."""
        self._values = Values(self.settings, self.state, self.cells, self.base)
        if self._postgres is not None:
            self._values.use_postgres(self.state, self._postgres.port, self._postgres.admin_url())
        else:
            missing = [variable(field) for field in DATABASE_FIELDS if field not in self.settings.given]
            if missing:
                raise SettingsInvalid(f"some database is set, so all must be; missing: {', '.join(missing)}")
        for name, server in self._redis.items():
            self._values.use_redis(name, server.url())
        if "audit_keys_file" not in self.settings.given:
            self._values.use_witness(self.state, f"http://{self.settings.host}:{self.port('witness')}")
        for name, values in {"control": self._values.control, **self._values.cells}.items():
            # What only provisioning needs opens every database; it stays with the server.
            own = {key: value for key, value in values.items() if key != variable("admin_database_url")}
            self.state.write_environment(name, own)
        known = {path.stem for path in self.settings.cell_file.parent.glob("*.toml")}
        self._tenants = group_tenants(self.settings.tenants_dir, self.cells, known)
        if "secrets_file" not in self.settings.given:
            for name, slugs in self._tenants.items():
                self.state.prepare_plugin_secrets(name, [self.settings.tenants_dir / slug for slug in slugs])

    def _provision(self) -> None:
        """Make roles and databases; skipped when the same logins were provisioned on the same server before."""
        values = self._values
        if variable("admin_database_url") not in values.control:
            click.echo(f"databases are taken as provisioned: {variable('admin_database_url')} is not set")
            return
        subject = [values.control[variable(field)] for field in ("admin_database_url", *CONTROL_FIELDS)]
        subject += [each[variable(field)] for each in values.cells.values() for field in CELL_FIELDS]
        subject += [each.get(variable("backup_database_url"), "") for each in values.cells.values()]
        digest = hashlib.sha256("\n".join(subject).encode()).hexdigest()
        if self.state.read_facts().get("provisioned") == digest:
            return
        self._step(
            "roles and databases",
            lambda: self._commands(
                (values.control, "db provision control"),
                *((values.cells[cell.name], "db provision cell") for cell in self.cells),
            ),
        )
        self.state.write_facts({"provisioned": digest})

    def _define(self, name: str, cell: RunCell | None, *arguments: str) -> None:
        source = self._values.cells[cell.name] if cell else self._values.control
        fields = (*_EVERYWHERE, *NEEDS[name])
        values = {variable(field): source[variable(field)] for field in fields if variable(field) in source}
        values[variable("plane")] = "cell" if cell else "control"
        port = self.port(name, cell)
        serves_metrics_only = name in {"worker", "relay", "sequencer", "control-sequencer"}
        values[variable("metrics_port" if serves_metrics_only else "port")] = str(port)
        if name == "web":
            values[variable("wallet_port")] = str(self.port("wallet", cell))
        environ = child_environ({**values, MARK: str(self.state.folder)})
        self.processes.append(Process(name, cell, arguments, port, environ))

    def _step(self, what: str, action: Callable[[], object]) -> None:
        """Do one step of the start, saying what and how long."""
        click.echo(f"{what} … ", nl=False)
        self._line_open = True
        started = time.monotonic()
        try:
            action()
        except BaseException:
            self._line_open = False
            click.echo("failed")
            raise
        took = f"{time.monotonic() - started:.1f} s"
        click.echo(took if self._line_open else f"{what}: {took}")
        self._line_open = False

    def _say(self, line: str) -> None:
        """Print a line of its own, also in the middle of a step."""
        if self._line_open:
            click.echo()
            self._line_open = False
        click.echo(line)

    def _commands(self, *commands: tuple[Mapping[str, str], str]) -> None:
        """Run commands of ours side by side, each with its settings; raise `StepFailed` with what the first to fail said."""
        started: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
        for values, line in commands:
            environ = child_environ({**values, MARK: str(self.state.folder)})
            words = line.split(" ")
            log = self.state.logs / f"{'-'.join([*words[:2], environ.get(variable('cell'), 'control')])}.log"
            log.write_bytes(b"")
            started.append((line, log, spawn(_our_command(*words), log=log, env=environ)))
            self._steps.append(started[-1][2])
        codes = [step.wait() for _, _, step in started]
        self._steps = []
        for (line, log, _), code in zip(started, codes, strict=True):
            if code != 0:
                raise StepFailed(f"`pitboss {line}` ended with code {code}:\n{tail(log)}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        for process in self.processes:
            while not is_ready(self.settings.host, process.port):
                self._revive_all()
                if process.failures >= _STARTS_BEFORE_READY or time.monotonic() > deadline:
                    log = self._log(process)
                    raise StepFailed(f"{process.title} is not ready; the end of {log}:\n{tail(log)}")
                time.sleep(0.05)

    def _launch(self, process: Process) -> None:
        process.child = spawn(_our_command(*process.arguments), log=self._log(process), env=process.environ)
        process.started_at = time.monotonic()
        process.restart_at = 0.0

    def _revive(self, process: Process) -> None:
        """Restart a process that ended, after a pause that grows while it keeps ending."""
        now = time.monotonic()
        if process.restart_at:
            if now >= process.restart_at:
                self._launch(process)
            return
        code = process.child.poll()
        if code is None:
            return
        kill_group(process.child.pid)
        process.failures = 1 if now - process.started_at > _STEADY_SECONDS else process.failures + 1
        pause = min(2 ** (process.failures - 1), _MAX_BACKOFF_SECONDS)
        process.restart_at = now + pause
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        self._say(f"{process.title} ended {how}, starts again in {pause} s; log: {self._log(process)}")

    def _watch(self, started: float) -> NoReturn:
        silent = [process.cell for process in self.processes if process.name == "simulate" and process.cell]
        while True:
            self._revive_all()
            for cell in [cell for cell in silent if has_wallet_calls(self.settings.host, self.port("web", cell))]:
                silent.remove(cell)
                seconds = time.monotonic() - started
                self._say(f"first simulated wallet call in {cell.name} {seconds:.1f} s after the start")
            time.sleep(0.3)

    def _revive_all(self) -> None:
        """Start again what ended: servers first, since the processes need them."""
        servers = [("PostgreSQL", self._postgres), *((f"Redis of {cell}", each) for cell, each in self._redis.items())]
        for name, server in servers:
            if server is not None and server.pid is None:
                self._say(f"{name} ended, starts again; log: {server.log}")
                server.stop()
                server.start()
        for process in self.processes:
            self._revive(process)

    def _log(self, process: Process) -> Path:
        return self.state.logs / f"{process.label}.log"

    def _rotate_logs(self) -> None:
        for log in (
            *self.state.logs.glob("*.log"),
            self.state.postgres / "server.log",
            *self.state.redis.glob("*/server.log"),
        ):
            if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))

    def _print_addresses(self) -> None:
        host = self.settings.host
        rows = [("control", f"http://{host}:{self.port('control')}/")]
        rows += [("operator token", self._values.control.get(variable("operator_token"), ""))]
        for cell in self.cells:
            web = f"http://{host}:{self.port('web', cell)}/"
            rows += [
                (f"cell {cell.name}", web),
                ("  wallet calls", f"http://{host}:{self.port('wallet', cell)}/wallet/<tenant>/<plugin>/<operation>"),
                ("  operator token", self._values.cells[cell.name].get(variable("operator_token"), "")),
            ]
            rows += [
                (f"  brand {slug}", f"http://{domain}:{self.port('web', cell)}/api")
                for slug, domain in self._brands(cell)
            ]
        watched = [process for process in self.processes if process.name not in {"simulate", "witness"}]
        rows += [
            ("metrics", ", ".join(f"{process.title} :{process.port}/metrics" for process in watched)),
            ("secrets", f"{self.state.folder / 'secrets.toml'} (generated for this demo)"),
            ("logs", str(self.state.logs)),
        ]
        if self._postgres is not None:
            rows.append(
                ("PostgreSQL", f"127.0.0.1:{self._postgres.port}, password in {self.state.postgres / 'password'}")
            )
        for name, value in rows:
            click.echo(f"  {name:<16} {value}")
        click.echo("Ctrl-C stops everything.")

    def _brands(self, cell: RunCell) -> list[tuple[str, str]]:
        """Return the tenants of a cell, each with the first domain of its first brand."""
        found: list[tuple[str, str]] = []
        for slug in self._tenants[cell.name]:
            brands = read_toml(self.settings.tenants_dir / slug / "tenant.toml").get("brands", [])
            found += [(slug, str(domain)) for brand in brands[:1] for domain in brand.get("domains", [])[:1]]
        return found

    def clean_leftovers(self) -> int:
        """Kill processes of this state folder that an earlier run left behind; return how many there were."""
        leftovers = processes_marked(MARK, str(self.state.folder))
        if leftovers:
            click.echo(f"ending {len(leftovers)} processes that an earlier run left behind")
            kill_all(leftovers)
            wait_until(lambda: not processes_marked(MARK, str(self.state.folder)), _PATIENCE_SECONDS)
        return len(leftovers)

    def _stop(self) -> None:
        """Stop traffic, then the other processes together, then the servers they use."""
        for step in self._steps:
            kill_group(step.pid)
        for group in ([p for p in self.processes if p.name == "simulate"], self.processes):
            children: list[subprocess.Popen[bytes]] = [p.child for p in group if p.child is not None]
            for child in children:
                if child.poll() is None:
                    child.terminate()
            wait_until(lambda children=children: all(child.poll() is not None for child in children), _PATIENCE_SECONDS)
            for child in children:
                kill_group(child.pid)
                child.wait()
        for server in self._redis.values():
            server.stop()
        if self._postgres is not None:
            self._postgres.stop()

    def _kill_everything(self, _number: int, _frame: object) -> None:
        """A second Ctrl-C: do not wait for anybody."""
        for process in self.processes:
            if process.child is not None:
                kill_group(process.child.pid)

    def _on_signals(self, handler: Callable[[int, Any], object]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, handler)


def _request_stop(_number: int, _frame: object) -> None:
    raise StopRequested


def _our_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pitboss.bootstrap", *arguments]


def is_ready(host: str, port: int) -> bool:
    """Return whether the process on the port says that it is ready."""
    return fetch(host, port, "/readyz")[0] == http.client.OK


def has_wallet_calls(host: str, port: int) -> bool:
    """Return whether a cell web has answered a wallet call, by its own metrics."""
    _, body = fetch(host, port, "/metrics")
    return any(
        line.startswith("pitboss_wallet_calls_total") and not line.endswith(" 0.0") for line in body.splitlines()
    )


def fetch(host: str, port: int, path: str) -> tuple[int, str]:
    """Return status and body of a GET; status 0 if nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
