"""The processes of `pitboss run`: started in order, watched, restarted, and stopped with nothing left behind."""

from __future__ import annotations

import hashlib
import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec

from pitboss.cli.state import MARK, State, generated_keys, generated_values
from pitboss.platform.embedded import PostgresServer, RedisServer, postgres_version
from pitboss.platform.processes import (
    PortBusy,
    is_port_free,
    kill_all,
    kill_group,
    processes_marked,
    spawn,
    tail,
    wait_until,
)
from pitboss.platform.settings import Settings, SettingsInvalid, child_environ, raw_values, variable
from pitboss_sdk.errors import ErrorKind, PitbossError

BLOCK: Final = {"control": 0, "cell": 1, "wallet": 3, "worker": 5, "relay": 6, "postgres": 7, "redis": 8, "simulate": 9}
"""Offset of each port in the block that begins with PITBOSS_PORT; +2 and +4 are for another cell."""
_DEMO_PORT: Final = 8080
"""First port of the block that the addresses in the shipped tenants' files belong to."""
_NEXT_BLOCK: Final = 10
_MAX_BLOCKS: Final = 20
_READY_SECONDS: Final = 60
_STARTS_BEFORE_READY: Final = 3
_MAX_BACKOFF_SECONDS: Final = 30
_STEADY_SECONDS: Final = 60
_PATIENCE_SECONDS: Final = 8
_MAX_LOG_BYTES: Final = 20_000_000

DATABASE_FIELDS: Final = (
    "control_database_url",
    "control_migrate_url",
    "cell_database_url",
    "cell_worker_database_url",
    "cell_relay_database_url",
    "cell_migrate_url",
)
_EVERYWHERE: Final = ("environment", "log_level", "host", "state_dir")
_CELL: Final = ("cell", "locality", "cell_file", "redis_url", "context_keys", "directory_public_keys")
NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "control": ("control_database_url", "directory_signing_key", "directory_public_keys", "operator_token"),
    "cell": (*_CELL, "cell_database_url", "operator_token", "secrets_file", "lanes", "mail_spool_dir"),
    "worker": (*_CELL, "cell_worker_database_url", "secrets_file", "mail_spool_dir"),
    "relay": (*_CELL, "cell_relay_database_url"),
    "simulate": ("cell", "operator_token", "secrets_file", "tenants_dir", "simulate_rate"),
}
"""Settings that each process is given: no process holds a login that it does not use."""


class StepFailed(PitbossError):
    """A step of the start failed; the detail ends with what it logged."""

    code = "run.step_failed"
    kind = ErrorKind.UNAVAILABLE


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM arrived; nothing but the supervisor catches it."""


class Process(msgspec.Struct):
    """One supervised program and what became of it."""

    name: str
    arguments: tuple[str, ...]
    port: int
    environ: dict[str, str]
    child: Any = None
    started_at: float = 0.0
    restart_at: float = 0.0
    failures: int = 0


class Supervisor:
    """Runs servers, steps and processes of one state folder until it is told to stop."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.settings = settings
        self.state = state
        self.base = choose_block(settings)
        self.processes: list[Process] = []
        self._values: dict[str, str] = {}
        self._line_open = False
        self._steps: list[subprocess.Popen[bytes]] = []
        self._external = any(field in settings.given for field in DATABASE_FIELDS)
        self._postgres = (
            None if self._external else PostgresServer(state.postgres, self.port("postgres"), report=self._say)
        )
        self._redis = None if "redis_url" in settings.given else RedisServer(state.redis, self.port("redis"))

    def port(self, name: str) -> int:
        """Return the port of a process or server in this run's block."""
        return self.base + BLOCK[name]

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
        if self._redis is not None:
            self._step(f"Redis on port {self._redis.port}", self._redis.start)
        self._compose_values()
        self._provision()
        self._step(
            "databases at their newest version",
            lambda: self._commands(["db", "migrate", "control"], ["db", "migrate", "cell"]),
        )
        for folder in sorted(path.parent for path in self.settings.tenants_dir.glob("*/tenant.toml")):
            slug = folder.name
            self._step(f"tenant {slug}", lambda slug=slug: self._commands(["tenant", "apply", slug]))
        self._define("control", "web", "control")
        self._define("cell", "web", "cell")
        self._define("worker", "worker")
        self._define("relay", "relay")
        self._step(", ".join(self._title(process.name) for process in self.processes), self._launch_all)
        if self.settings.simulate_rate > 0:
            target = f"http://{self.settings.host}:{self.port('cell')}"
            self._define("simulate", "simulate", "--target", target, "--port", str(self.port("simulate")))
            self._step("traffic source", lambda: self._launch(self.processes[-1]))

    def _compose_values(self) -> None:
        """Settings of the children: generated ones, replaced by those of our own environment."""
        values: dict[str, str] = {}
        if self._postgres is not None:
            values = generated_values(self.settings, self.state, self._postgres.port)
            values[variable("admin_database_url")] = self._postgres.admin_url()
        else:
            missing = [variable(field) for field in DATABASE_FIELDS if field not in self.settings.given]
            if missing:
                raise SettingsInvalid(f"some database is set, so all must be; missing: {', '.join(missing)}")
            values = {variable(field): value for field, value in generated_keys(self.state).items()}
        if self._redis is not None:
            values[variable("redis_url")] = self._redis.url()
        self._values = {**values, **raw_values(self.settings), variable("state_dir"): str(self.state.folder)}
        if "secrets_file" not in self.settings.given:
            self.state.prepare_plugin_secrets(self.settings.tenants_dir)
        if self.settings.simulate_rate > 0:
            # The shipped files name the traffic source at the first block; it moves with the block of this run.
            moved = {f"127.0.0.1:{_DEMO_PORT + BLOCK['simulate']}": f"127.0.0.1:{self.port('simulate')}"}
            tenants_dir = self.state.place_tenants(self.settings.tenants_dir, moved)
            self._values[variable("tenants_dir")] = str(tenants_dir)

    def _provision(self) -> None:
        """Make roles and databases; skipped when the same logins were provisioned on the same server before."""
        if variable("admin_database_url") not in self._values:
            click.echo(f"databases are taken as provisioned: {variable('admin_database_url')} is not set")
            return
        subject = [self._values[variable(field)] for field in ("admin_database_url", *DATABASE_FIELDS)]
        digest = hashlib.sha256("\n".join(subject).encode()).hexdigest()
        if self.state.read_facts().get("provisioned") == digest:
            return
        self._step(
            "roles and databases",
            lambda: self._commands(["db", "provision", "control"], ["db", "provision", "cell"]),
        )
        self.state.write_facts({"provisioned": digest})

    def _define(self, name: str, *arguments: str) -> None:
        fields = (*_EVERYWHERE, *NEEDS[name])
        values = {variable(field): self._values[variable(field)] for field in fields if variable(field) in self._values}
        values[variable("plane")] = "control" if name == "control" else "cell"
        ports = {"worker": "metrics_port", "relay": "metrics_port"}
        values[variable(ports.get(name, "port"))] = str(self.port(name))
        if name == "cell":
            values[variable("wallet_port")] = str(self.port("wallet"))
        environ = child_environ({**values, MARK: str(self.state.folder)})
        self.processes.append(Process(name, arguments, self.port(name), environ))

    def _title(self, name: str) -> str:
        return {"control": "control web", "cell": f"web of {self.settings.cell}"}.get(name, name)

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

    def _commands(self, *commands: Sequence[str]) -> None:
        """Run commands of ours side by side; raise `StepFailed` with the log of the first that fails."""
        environ = child_environ({**self._values, MARK: str(self.state.folder)})
        logs = [self.state.logs / f"{'-'.join(command)}.log" for command in commands]
        for log in logs:
            log.write_bytes(b"")
        self._steps = [
            spawn(_our_command(*command), log=log, env=environ) for command, log in zip(commands, logs, strict=True)
        ]
        codes = [step.wait() for step in self._steps]
        self._steps = []
        for command, log, code in zip(commands, logs, codes, strict=True):
            if code != 0:
                raise StepFailed(f"`pitboss {' '.join(command)}` ended with code {code}:\n{tail(log)}")

    def _launch_all(self) -> None:
        for process in self.processes:
            self._launch(process)
        deadline = time.monotonic() + _READY_SECONDS
        for process in self.processes:
            while not is_ready(self.settings.host, process.port):
                self._revive_all()
                if process.failures >= _STARTS_BEFORE_READY or time.monotonic() > deadline:
                    log = self._log(process)
                    raise StepFailed(f"{self._title(process.name)} is not ready; the end of {log}:\n{tail(log)}")
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
        self._say(f"{self._title(process.name)} ended {how}, starts again in {pause} s; log: {self._log(process)}")

    def _watch(self, started: float) -> NoReturn:
        seen_bet = self.settings.simulate_rate == 0
        while True:
            self._revive_all()
            if not seen_bet and has_wallet_calls(self.settings.host, self.port("cell")):
                seen_bet = True
                self._say(f"first simulated wallet call {time.monotonic() - started:.1f} s after the start")
            time.sleep(0.3)

    def _revive_all(self) -> None:
        """Start again what ended: servers first, since the processes need them."""
        for name, server in (("PostgreSQL", self._postgres), ("Redis", self._redis)):
            if server is not None and server.pid is None:
                self._say(f"{name} ended, starts again; log: {server.log}")
                server.stop()
                server.start()
        for process in self.processes:
            self._revive(process)

    def _log(self, process: Process) -> Path:
        return self.state.logs / f"{process.name}.log"

    def _rotate_logs(self) -> None:
        for log in (
            *self.state.logs.glob("*.log"),
            self.state.postgres / "server.log",
            self.state.redis / "server.log",
        ):
            if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))

    def _print_addresses(self) -> None:
        host = self.settings.host
        rows = [
            ("control", f"http://{host}:{self.port('control')}/"),
            (f"cell {self.settings.cell}", f"http://{host}:{self.port('cell')}/"),
            ("wallet calls", f"http://{host}:{self.port('wallet')}/wallet/<tenant>/<plugin>/<operation>"),
            *((f"brand {name}", f"http://{domain}:{self.port('cell')}/") for name, domain in self._brands()),
            ("operator token", self._values.get(variable("operator_token"), "")),
            ("metrics", ", ".join(f"{p.name} :{p.port}/metrics" for p in self.processes if p.name != "simulate")),
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

    def _brands(self) -> list[tuple[str, str]]:
        import tomllib

        found: list[tuple[str, str]] = []
        for path in sorted(self.settings.tenants_dir.glob("*/tenant.toml")):
            for brand in tomllib.loads(path.read_text()).get("brands", []):
                found += [
                    (str(brand.get("slug", path.parent.name)), str(domain)) for domain in brand.get("domains", [])[:1]
                ]
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
        if self._redis is not None:
            self._redis.stop()
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


def choose_block(settings: Settings) -> int:
    """Return the first port of this run's block: the set one, all free, or the next block that is free."""
    wanted = [offset for name, offset in BLOCK.items() if _uses(settings, name)]

    def busy(base: int) -> list[int]:
        return [base + offset for offset in wanted if not is_port_free(base + offset, settings.host)]

    taken = busy(settings.port)
    if not taken:
        return settings.port
    if "port" in settings.given:
        raise PortBusy(
            f"port {', '.join(map(str, taken))} is in use; {variable('port')}={settings.port} needs"
            f" {', '.join(str(settings.port + offset) for offset in wanted)}"
        )
    for base in range(settings.port + _NEXT_BLOCK, settings.port + _MAX_BLOCKS * _NEXT_BLOCK, _NEXT_BLOCK):
        if not busy(base):
            click.echo(f"port {', '.join(map(str, taken))} is in use, so this run takes {base} and following")
            return base
    raise PortBusy(f"no free block of ports from {settings.port} on; set {variable('port')}")


def _uses(settings: Settings, name: str) -> bool:
    if name == "postgres":
        return not any(field in settings.given for field in DATABASE_FIELDS)
    return name != "redis" or "redis_url" not in settings.given


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
