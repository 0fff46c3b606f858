"""Alembic's environment: runs on the connection that `pitboss.migrations.upgrade` hands over."""

from alembic import context

from pitboss.migrations.environment import run

run(context)
