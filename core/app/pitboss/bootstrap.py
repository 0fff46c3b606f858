"""The composition root: the only module that knows every part and puts them together."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from pitboss_sdk.errors import PitbossError

COMMANDS: Final = {
    "run": ("pitboss.cli.run:run", "Start the whole platform on this machine."),
    "stop": ("pitboss.cli.run:stop", "Stop what `run` started here."),
    "reset": ("pitboss.cli.run:reset", "Throw away the local state."),
    "doctor": ("pitboss.cli.doctor:doctor", "Say what is wrong with this machine and what to do."),
    "db": ("pitboss.migrations.commands:db", "Provision and migrate the databases."),
    "tenant": ("pitboss.cli.tenant:tenant", "Check, plan and apply tenants from files."),
    "plugin": ("pitboss.cli.plugin:plugin", "List and check plugins."),
    "player": ("pitboss.cli.player:player", "Operate on one player."),
    "ledger": ("pitboss.cli.ledger:ledger", "Verify the ledger."),
    "web": ("pitboss.cli.web:web", "Serve HTTP."),
    "worker": ("pitboss.cli.worker:worker", "Work off jobs."),
    "relay": ("pitboss.cli.worker:relay", "Hand due jobs from the outbox to the broker."),
    "simulate": ("pitboss.cli.simulate:simulate", "Play the aggregator and the players over HTTP."),
}
"""Every command, with the place it is loaded from when it is asked for, so that small commands start fast."""


class LazyGroup(click.Group):
    """The command tree; a command is imported when it runs or its own help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click names it
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: Any = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click names it
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pitboss", prog_name="pitboss")
def cli() -> None:
    """Run and operate Pitboss, an open iGaming back office."""


def main() -> None:
    """Run the command line; a known situation prints its code and detail and exits with 1."""
    try:
        cli(prog_name="pitboss")
    except PitbossError as error:
        click.echo(f"pitboss: {error.code}: {error.detail}" if error.detail else f"pitboss: {error.code}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
