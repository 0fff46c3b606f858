"""The guide on operating a cell is followed to the letter: every block of commands runs against a running platform."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator

import pytest
from tests.docs.pages import FENCE
from tests.factories.collector import run_collector
from tests.factories.runs import PITBOSS, ROOT
from tests.residency.world import World

from pitboss.cli.stack import BLOCK_PORTS, DEMO_PORT
from pitboss.cli.supervisor import NEEDS
from pitboss.platform.processes import wait_until
from pitboss.platform.settings import child_environ, variable

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

GUIDE = (ROOT / "core/docs/guides/operate-a-cell.md").read_text()
BLOCKS = [block for language, block in FENCE.findall(GUIDE) if language == "sh"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with run_collector() as collector:
        opened = World(collector)
        try:
            for cell in ("eu-1", "br-1"):
                opened.wait_until_ready(cell)
            yield opened
        finally:
            opened.close()


def place(block: str, world: World) -> str:
    """Return the commands as they read on a platform whose state and ports are elsewhere."""

    def move(found: re.Match[str]) -> str:
        port = int(found[0])
        return str(port + world.base - DEMO_PORT if DEMO_PORT <= port < DEMO_PORT + BLOCK_PORTS else port)

    return re.sub(r"\b80\d\d\b", move, block).replace(".pitboss/", f"{world.state.folder}/")


def follow(block: str, world: World) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}
    settings = {"PITBOSS_STATE_DIR": str(world.state.folder), "PITBOSS_PORT": str(world.base)}
    script = "set -eu -o pipefail\n" + place(block, world)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**inherited, **settings},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def demand_old_key_is_forgotten(world: World, under_new_key: str) -> None:
    """The platform under test goes on with the key that it has, so the database is told of it again afterwards."""
    try:
        under_old_key = world.command("eu-1", "ledger", "verify")
        assert wait_until(lambda: set(world.statuses("eu-1").values()) == {503}, 30)
    finally:
        assert world.command("eu-1", "db", "migrate", "cell").returncode == 0
    assert re.search(r"[1-9]\d* wallets", under_new_key)
    assert (under_old_key.returncode, under_old_key.stdout) == (1, "")
    assert "platform.context_refused" in under_old_key.stderr
    world.wait_until_ready("eu-1")


def test_every_block_of_the_guide_does_what_it_says(world: World) -> None:
    world.play("eu-1", 40)
    assert len(BLOCKS) >= 12
    printed: list[str] = []
    for block in BLOCKS:
        done = follow(block, world)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
        if "%%,*" in block:
            demand_old_key_is_forgotten(world, done.stdout)
    everything = "\n".join(printed)
    for promised in (
        '"status":"ready"',
        'pitboss_dependency_up{dependency="redis"} 1.0',
        "aurora is suspended",
        '"findings":[]',
        "policy.applied",
    ):
        assert promised in everything
    assert not (world.state.folder / "eu-1.dump").exists()
    world.wait_until_ready("eu-1")
    world.play("eu-1", 20)


def test_a_copy_has_the_money_of_the_cell(world: World) -> None:
    """The dump of the guide is restored by the guide: what it says of the copy is said of as many wallets."""
    (dump, restore, move, drop) = [block for block in BLOCKS if "eu-1.dump" in block]
    world.play("eu-1", 20)
    here = world.command("eu-1", "ledger", "verify")
    try:
        assert follow(dump, world).returncode == 0
        there = follow(restore, world)
        assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr
        assert re.search(r"[1-9]\d* wallets", there.stdout)
        moved = follow(move, world)
        assert moved.returncode == 0, moved.stderr
        assert moved.stdout.endswith(f"0 differences\n{here.stdout}")
    finally:
        dropped = follow(drop, world)
    assert dropped.returncode == 0


def test_a_database_that_is_away_is_named_and_comes_back(world: World) -> None:
    """What the section on a dependency promises."""
    with world.shut_off("eu-1"):
        assert wait_until(lambda: world.statuses("eu-1")["web"] == 503, 30)
        follow_up = follow("curl --silent http://127.0.0.1:8085/readyz\n", world)
        assert '"database"' in follow_up.stdout
        metrics = "curl --silent http://127.0.0.1:8081/metrics | grep dependency_up"
        assert wait_until(lambda: 'dependency="database"} 0.0' in follow(metrics, world).stdout, 30)
    world.wait_until_ready("eu-1")


def test_a_block_that_fails_is_seen(world: World) -> None:
    assert follow("false | cat\necho on\n", world).returncode != 0
    assert follow("curl --fail http://127.0.0.1:8081/nowhere\n", world).returncode != 0


def test_no_command_of_the_guide_is_left_out() -> None:
    shown = re.findall(r"^ {0,3}```(\w*)", GUIDE, re.MULTILINE)
    assert [language for language in shown if language] == ["sh"] * len(BLOCKS)


def test_the_table_of_settings_is_what_processes_ask_for_and_are_given() -> None:
    names = {"sequencer of control": "control-sequencer"}
    words = {"web": ["web", "cell"], "control": ["web", "control"], "control-sequencer": ["sequencer", "--control"]}
    shown: list[tuple[str, str]] = re.findall(r"^\| (\w+(?: of control)?) \| (`PITBOSS_.*) \|$", GUIDE, re.MULTILINE)
    rows: dict[str, str] = {names.get(name, name): row for name, row in shown}
    assert set(rows) == set(NEEDS) - {"simulate"}
    of_all = {"PITBOSS_CELL", "PITBOSS_LOCALITY", "PITBOSS_CELL_FILE"}
    ports = {"PITBOSS_PORT", "PITBOSS_WALLET_PORT", "PITBOSS_METRICS_PORT"}
    untold = {"trace_wallet_one_in"}  # of traces, which the guide tells in their own section
    for process, row in rows.items():
        told = set(re.findall(r"`(PITBOSS_[A-Z_]+)`", row))
        given = {variable(field) for field in NEEDS[process] if field not in untold} - of_all
        assert told - ports == given, process
        first = set(re.findall(r"`(PITBOSS_[A-Z_]+)`", row.partition(" | ")[0]))
        command = [*PITBOSS, *words.get(process, [process])]
        done = subprocess.run(command, env=child_environ({}), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert set(re.findall(r"(PITBOSS_[A-Z_]+): this process needs it", done.stderr)) == first, process
