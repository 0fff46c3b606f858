"""What both Alembic trees share."""

from __future__ import annotations

from typing import Any

from pitboss.migrations.schema import load_metadata


def run(context: Any) -> None:
    """Run the migrations of one tree in the transaction of the connection in the configuration."""
    attributes = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        target_metadata=load_metadata(attributes["plane"]),
        compare_type=True,
        compare_server_default=True,
        include_object=_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


def _ours(_found: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    return not (kind == "table" and name == "alembic_version")
