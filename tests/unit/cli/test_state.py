"""The state folder: secrets are made once, versions are respected, plugin secrets follow the tenants' files."""

from __future__ import annotations

import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.factories.ports import free_block
from tests.factories.runs import EVERY_OFFSET, ROOT

from pitboss.cli.stack import (
    BLOCK,
    BLOCK_PORTS,
    CELL_FIELDS,
    CONTROL_FIELDS,
    DATABASE_FIELDS,
    Values,
    choose_block,
    find_cells,
    group_tenants,
    place_folder,
)
from pitboss.cli.state import (
    State,
    StateUnusable,
    logins_of_cell,
    logins_of_control,
    secrets_of_cell,
    secrets_of_control,
)
from pitboss.platform.processes import PortBusy
from pitboss.platform.settings import Settings, SettingsInvalid, load_settings, variable


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.folder.mkdir()
    return state


def values_of(state: State, cell: str) -> dict[str, str]:
    fields = {**logins_of_cell(state, cell, 5432), **secrets_of_cell(state, cell)}
    return {variable(field): value for field, value in fields.items()}


def test_secrets_are_made_once_private_and_read_as_settings(state: State) -> None:
    values = values_of(state, "eu-1")
    assert values == values_of(state, "eu-1")
    assert (state.folder / "secrets.toml").stat().st_mode & 0o777 == 0o600
    settings = load_settings(values)
    assert settings.cell_worker_database_url is not None
    assert settings.cell_worker_database_url.startswith("postgresql://pitboss_worker_eu_1:demo-")
    assert settings.cell_worker_database_url.endswith("@127.0.0.1:5432/pitboss_eu_1")
    with pytest.raises(SettingsInvalid, match="made for the demo"):
        load_settings({**values, "PITBOSS_ENVIRONMENT": "production"})


def test_no_two_places_share_a_secret(state: State) -> None:
    values_of(state, "eu-1")
    values_of(state, "br-1")
    shared = {"directory_public_keys", "call_public_keys", "seal_seconds"}
    places = [
        {**logins_of_control(state, 5432), **secrets_of_control(state)},
        *({**logins_of_cell(state, cell, 5432), **secrets_of_cell(state, cell)} for cell in ("eu-1", "br-1")),
    ]
    values = [value for place in places for name, value in place.items() if name not in shared]
    assert len(values) == len(set(values))
    passwords = [value.split(":")[2].split("@")[0] for value in values if value.startswith("postgresql://")]
    assert len(passwords) == len(set(passwords)) == 15


def test_a_secret_added_by_a_later_version_leaves_the_others(state: State) -> None:
    before = state.secrets()
    lines = (state.folder / "secrets.toml").read_text().splitlines()
    (state.folder / "secrets.toml").write_text(
        "\n".join(line for line in lines if not line.startswith("operator_token"))
    )
    after = state.secrets()
    assert {name for name in before if before[name] != after[name]} == {"operator_token"}


def test_plugin_secrets_follow_the_references(state: State, tmp_path: Path) -> None:
    plugins = tmp_path / "tenants" / "one" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "a.toml").write_text(
        'key = { secret = "first.key" }\n[[routes]]\ntoken = { secret = "second" }\nplain = "no"\n'
    )
    state.prepare_plugin_secrets("eu-1", [tmp_path / "tenants" / "one"])
    secrets_file = state.plugin_secrets("eu-1")
    first = tomllib.loads(secrets_file.read_text())
    assert set(first) == {"first.key", "second"}
    (plugins / "a.toml").write_text('key = { secret = "third" }\n')
    state.prepare_plugin_secrets("eu-1", [tmp_path / "tenants" / "one"])
    second = tomllib.loads(secrets_file.read_text())
    assert second == {**first, "third": second["third"]}
    assert secrets_file.stat().st_mode & 0o777 == 0o600


def test_state_of_a_later_version_is_refused_and_let_go(state: State) -> None:
    (state.folder / "state.toml").write_text("version = 99\n")
    with pytest.raises(StateUnusable, match="version 99"):
        state.open()
    assert not state.lock.is_held()
    assert (state.folder / "state.toml").read_text() == "version = 99\n"


FOLDER = ROOT / "deploy" / "cells"


def settings_of(port: int, *given: str, **fields: Any) -> Settings:
    return Settings(port=port, cell_file=FOLDER / "eu-1.toml", given=frozenset(given), **fields)


def choose(settings: Settings) -> int:
    return choose_block(settings, find_cells(settings))


def test_block_moves_on_unless_it_was_set(capsys: pytest.CaptureFixture[str]) -> None:
    base = free_block(BLOCK_PORTS)
    port = base + BLOCK["relay"][1]
    with socket.create_server(("127.0.0.1", port)):
        assert choose(settings_of(base)) >= base + 20
        assert str(port) in capsys.readouterr().out
        with pytest.raises(PortBusy, match=f"port {port} is in use"):
            choose(settings_of(base, "port"))


def test_ports_of_servers_that_are_named_are_not_asked_for() -> None:
    base = free_block(BLOCK_PORTS)
    with socket.create_server(("127.0.0.1", base + BLOCK["redis"][0])):
        assert choose(settings_of(base, "port", "redis_url", redis_url="redis://elsewhere")) == base


def test_a_run_has_every_cell_with_a_file_or_the_one_that_is_set() -> None:
    def found(settings: Settings) -> list[tuple[str, str, int]]:
        return [(cell.name, cell.locality, cell.number) for cell in find_cells(settings)]

    both = [("eu-1", "eu", 0), ("br-1", "br", 1)]
    assert found(settings_of(8080)) == both
    assert found(settings_of(8080, "cell", cell="br-1")) == both[1:]
    assert found(Settings(cell_file=FOLDER / "br-1.toml", given=frozenset({"cell_file"}))) == both[1:]
    with pytest.raises(SettingsInvalid, match="names no locality"):
        found(settings_of(8080, "cell", cell="gb-1"))


def test_neither_plane_is_told_the_databases_of_the_other(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in DATABASE_FIELDS:
        monkeypatch.setenv(variable(field), f"postgresql://{field}@127.0.0.1/x")
    settings = load_settings()
    settings = msgspec.structs.replace(settings, cell_file=FOLDER / "eu-1.toml", tenants_dir=ROOT / "tenants")
    values = Values(settings, state, find_cells(settings), 8080)
    assert list(values.cells) == ["eu-1"]
    for told, given, withheld in (
        (values.control, CONTROL_FIELDS, CELL_FIELDS),
        (values.cells["eu-1"], CELL_FIELDS, CONTROL_FIELDS),
    ):
        assert all(variable(field) in told for field in given)
        assert not any(variable(field) in told for field in withheld)


def test_no_two_ports_of_a_block_are_one() -> None:
    assert len(EVERY_OFFSET) == len(set(EVERY_OFFSET))
    assert max(EVERY_OFFSET) < BLOCK_PORTS


def test_addresses_follow_the_block_of_their_run(tmp_path: Path) -> None:
    given = tmp_path / "tenants"
    plugins = given / "aurora" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "softswiss.toml").write_text(
        'gateway_url = "http://127.0.0.1:8089"\nother = "http://127.0.0.1:8099"\nport = 8089\nfar = "127.0.0.1:8100"\n'
    )
    placed = tmp_path / "placed"
    assert place_folder(given, placed, 8080) == given
    for base in (8090, 18080):  # the moved addresses of the first overlap with those that are to be moved
        moved = place_folder(given, placed, base) / "aurora" / "plugins" / "softswiss.toml"
        assert moved.read_text() == (
            f'gateway_url = "http://127.0.0.1:{base + 9}"\nother = "http://127.0.0.1:{base + 19}"\n'
            'port = 8089\nfar = "127.0.0.1:8100"\n'
        )
    assert "8089" in (plugins / "softswiss.toml").read_text()


def test_tenants_are_applied_in_the_cell_that_they_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"one": 'cell = "br-1"', "two": 'cell = "eu-1"', "astray": 'slug = "astray"', "lost": 'cell = "gb-1"'}
    for slug, content in files.items():
        (tmp_path / slug).mkdir()
        (tmp_path / slug / "tenant.toml").write_text(content)
    cells = find_cells(settings_of(8080))
    everything = {"eu-1": ["astray", "lost", "two"], "br-1": ["one"]}
    assert group_tenants(tmp_path, cells, {"eu-1", "br-1"}) == everything
    assert group_tenants(tmp_path, cells[:1], {"eu-1", "br-1"}) == {"eu-1": everything["eu-1"]}
    assert "tenant one lives in cell br-1" in capsys.readouterr().out


def test_settings_survive_the_way_through_a_shell(tmp_path: Path) -> None:
    state = State(tmp_path)
    values = {"PITBOSS_A": "two words", "PITBOSS_B": 'it\'s $HOME `id` \\ "x"', "PITBOSS_C": ""}
    file = state.write_environment("eu-1", values)
    assert (file.name, file.stat().st_mode & 0o777) == ("eu-1.env", 0o600)
    shown = subprocess.run(
        ["/bin/sh", "-c", f". {file}; env -0"], env={}, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    assert {line.partition("=")[0]: line.partition("=")[2] for line in shown if line.startswith("PITBOSS_")} == values
