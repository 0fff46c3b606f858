"""Every edge names the permission that it needs: commands here, web handlers below the API's controllers."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import click
import pytest
from litestar import Controller
from litestar.handlers import HTTPRouteHandler

import pitboss.web.controllers
from pitboss.bootstrap import cli
from pitboss.permissions.contracts import PERMISSIONS
from pitboss.permissions.service import find_permission

WITHOUT_ACTOR = {"simulate": "a client like any other; the servers that it calls check it"}


def list_commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        assert found is not None, inner
        yield from list_commands(found, f"{name} {inner}".strip())


def list_handlers() -> Iterator[tuple[str, HTTPRouteHandler]]:
    for module in pkgutil.iter_modules(pitboss.web.controllers.__path__):
        loaded = importlib.import_module(f"pitboss.web.controllers.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, Controller) and value is not Controller:
                for name, handler in vars(value).items():
                    if isinstance(handler, HTTPRouteHandler):
                        yield f"{value.__name__}.{name}", handler


def test_every_command_names_a_permission() -> None:
    commands = dict(list_commands(cli))
    unnamed = {name for name, command in commands.items() if find_permission(command.callback) is None}
    assert unnamed <= set(WITHOUT_ACTOR), "commands without @deployment_command"
    for name, command in commands.items():
        assert name in unnamed or find_permission(command.callback) in PERMISSIONS


def test_every_handler_of_the_api_names_a_permission() -> None:
    handlers = dict(list_handlers())
    assert len(handlers) >= 12
    for name, handler in handlers.items():
        assert handler.opt.get("permission") in PERMISSIONS, name


def test_a_command_without_a_name_is_seen() -> None:
    @click.group()
    def group() -> None: ...

    @group.command("change")
    def change() -> None: ...

    found = dict(list_commands(group))
    assert [name for name, command in found.items() if find_permission(command.callback) is None] == ["change"]


@pytest.mark.parametrize("key", sorted(PERMISSIONS))
def test_a_permission_has_a_summary(key: str) -> None:
    assert PERMISSIONS[key].summary
