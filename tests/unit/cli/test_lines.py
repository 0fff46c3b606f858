"""What a room logs while a command runs goes through the allow-list to standard error, not beside what is printed."""

from __future__ import annotations

import json
import subprocess
import sys

CANARY = "canary.person@example.com"
SCRIPT = """
import sys
import click, structlog
from pitboss import bootstrap

@click.command("tenant")
def talkative():
    log = structlog.get_logger("test")
    log.info("test.quiet")
    log.warning("test.told", email=sys.argv[1], tenant="aurora")
    try:
        raise ValueError(sys.argv[1])
    except ValueError:
        log.exception("test.failed")
    click.echo('{"printed": true}')

bootstrap.tale = talkative
bootstrap.COMMANDS["tale"] = ("pitboss.bootstrap:tale", "")
bootstrap.cli(["tale"], prog_name="pitboss", obj=bootstrap.Services())
"""


def test_a_command_tells_no_more_than_a_process() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, CANARY], capture_output=True, text=True, check=True)
    assert done.stdout == '{"printed": true}\n'
    assert CANARY not in done.stderr
    told, failed = [json.loads(line) for line in done.stderr.splitlines()]
    assert (told["event"], told["tenant"], told["process"], told["dropped"]) == ("test.told", "aurora", "command", 1)
    assert failed["error_type"] == "ValueError"
