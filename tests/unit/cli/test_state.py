"""The state folder: secrets are made once, versions are respected, plugin secrets follow the tenants' files."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path

import pytest

from pitboss.cli.state import State, StateUnusable, generated_values
from pitboss.cli.supervisor import BLOCK, choose_block
from pitboss.platform.processes import PortBusy, find_free_port
from pitboss.platform.settings import Settings, SettingsInvalid, load_settings


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.folder.mkdir()
    return state


def test_secrets_are_made_once_private_and_read_as_settings(state: State) -> None:
    values = generated_values(Settings(), state, 5432)
    assert values == generated_values(Settings(), state, 5432)
    assert (state.folder / "secrets.toml").stat().st_mode & 0o777 == 0o600
    settings = load_settings(values)
    assert settings.cell_worker_database_url is not None
    assert settings.cell_worker_database_url.startswith("postgresql://pitboss_worker_eu_1:demo-")
    assert settings.cell_worker_database_url.endswith("@127.0.0.1:5432/pitboss_eu_1")
    with pytest.raises(SettingsInvalid, match="made for the demo"):
        load_settings({**values, "PITBOSS_ENVIRONMENT": "production"})


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
    state.prepare_plugin_secrets(tmp_path / "tenants")
    first = tomllib.loads(state.plugin_secrets.read_text())
    assert set(first) == {"first.key", "second"}
    (plugins / "a.toml").write_text('key = { secret = "third" }\n')
    state.prepare_plugin_secrets(tmp_path / "tenants")
    second = tomllib.loads(state.plugin_secrets.read_text())
    assert second == {**first, "third": second["third"]}
    assert state.plugin_secrets.stat().st_mode & 0o777 == 0o600


def test_state_of_a_later_version_is_refused_and_let_go(state: State) -> None:
    (state.folder / "state.toml").write_text("version = 99\n")
    with pytest.raises(StateUnusable, match="version 99"):
        state.open()
    assert not state.lock.is_held()
    assert (state.folder / "state.toml").read_text() == "version = 99\n"


def test_block_moves_on_unless_it_was_set(capsys: pytest.CaptureFixture[str]) -> None:
    base = find_free_port() - max(BLOCK.values())
    with socket.create_server(("127.0.0.1", base + BLOCK["relay"])):
        assert choose_block(Settings(port=base)) >= base + 10
        assert str(base + BLOCK["relay"]) in capsys.readouterr().out
        with pytest.raises(PortBusy, match=f"port {base + BLOCK['relay']} is in use"):
            choose_block(Settings(port=base, given=frozenset({"port"})))


def test_ports_of_servers_that_are_named_are_not_asked_for() -> None:
    base = find_free_port() - max(BLOCK.values())
    with socket.create_server(("127.0.0.1", base + BLOCK["redis"])):
        given = frozenset({"port", "redis_url"})
        assert choose_block(Settings(port=base, redis_url="redis://elsewhere", given=given)) == base


def test_tenants_follow_the_block_of_their_run(tmp_path: Path) -> None:
    given = tmp_path / "tenants"
    plugins = given / "aurora" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "softswiss.toml").write_text('gateway_url = "http://127.0.0.1:8089"\n')
    state = State(tmp_path / "state")
    state.folder.mkdir()
    assert state.place_tenants(given, {"127.0.0.1:8089": "127.0.0.1:8089"}) == given
    for port in (8099, 8109):
        placed = state.place_tenants(given, {"127.0.0.1:8089": f"127.0.0.1:{port}"})
        moved = placed / "aurora" / "plugins" / "softswiss.toml"
        assert moved.read_text() == f'gateway_url = "http://127.0.0.1:{port}"\n'
    assert "8089" in (plugins / "softswiss.toml").read_text()
