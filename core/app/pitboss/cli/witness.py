"""`pitboss witness`: the process that signs what audit logs grew to, with a key and a memory of its own."""

from __future__ import annotations

import signal
import threading

import click

from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import load_settings, require


@click.command("witness")
@deployment_command("platform.process.configure")
def witness() -> None:
    """Cosign checkpoints of audit logs over HTTP, each only with proof that the log grew out of the last one."""
    from pitboss.audit.runtime import Witness, read_witness_file, serve_witness

    settings = load_settings()
    name, key, policies = read_witness_file(require(settings, "witness_file"))
    server = serve_witness(Witness(settings.witness_dir, name, key, policies), settings.host, settings.port)

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with server:
        server.serve_forever()
