"""`pitboss run`, `stop` and `reset`: the whole platform on one machine."""

from __future__ import annotations

import os
import shutil
import signal

import click

from pitboss.cli.state import MARK, State
from pitboss.cli.supervisor import Supervisor
from pitboss.permissions.service import deployment_command
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import FolderLocked, kill_all, processes_marked, wait_until
from pitboss.platform.settings import load_settings

_STOP_SECONDS = 40


@click.command("run")
@deployment_command("platform.process.configure")
def run() -> None:
    """Start servers, databases, tenants, processes and gentle traffic here; Ctrl-C stops all of it."""
    settings = load_settings()
    state = State(settings.state_dir)
    try:
        state.open()
    except FolderLocked:
        raise FolderLocked(
            f"a run is up already (process {state.lock.holder()}, state {state.folder}): use it, or `pitboss stop` first"
        ) from None
    try:
        Supervisor(settings, state).run()
    finally:
        state.lock.release()


@click.command("stop")
@deployment_command("platform.process.configure")
def stop() -> None:
    """Stop the run of this state folder, and whatever a killed one left behind."""
    state = State(load_settings().state_dir)
    stopped = _stop_supervisor(state)
    leftovers = processes_marked(MARK, str(state.folder))
    kill_all(leftovers)
    left_server = state.postgres.exists() and PostgresServer(state.postgres).stop_leftover()
    if stopped:
        click.echo("stopped")
    if leftovers or left_server:
        click.echo(f"ended {len(leftovers)} left-over processes{' and a left-over PostgreSQL' if left_server else ''}")
    if not (stopped or leftovers or left_server):
        click.echo("nothing runs here")


@click.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@deployment_command("platform.process.configure")
def reset(*, yes: bool) -> None:
    """Delete the local databases, logs and generated secrets; the next run starts from nothing."""
    state = State(load_settings().state_dir)
    if not state.folder.exists():
        click.echo(f"nothing to delete: {state.folder} does not exist")
        return
    if state.lock.is_held():
        raise FolderLocked(f"a run is up (process {state.lock.holder()}): `pitboss stop` first")
    server = PostgresServer(state.postgres)
    places = [str(state.folder), *([] if server.place == server.directory else [str(server.place)])]
    if not yes:
        click.confirm(f"Delete everything in {' and '.join(places)}?", abort=True)
    kill_all(processes_marked(MARK, str(state.folder)))
    server.stop_leftover()
    server.remove()
    shutil.rmtree(state.folder)
    click.echo(f"deleted {' and '.join(places)}")


def _stop_supervisor(state: State) -> bool:
    holder = state.lock.holder()
    if not state.lock.is_held() or holder is None:
        return False
    click.echo(f"stopping process {holder}")
    os.kill(holder, signal.SIGTERM)
    if not wait_until(lambda: not state.lock.is_held(), _STOP_SECONDS):
        click.echo("it does not stop, so it is killed")
        kill_all([holder])
        wait_until(lambda: not state.lock.is_held(), _STOP_SECONDS)
    return True
