"""The traffic source against a whole platform: what it finds, what it survives, and that it can find something."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories.ports import free_block, free_port
from tests.factories.runs import PITBOSS, ROOT

from pitboss.cli.stack import BLOCK, BLOCK_PORTS
from pitboss.cli.state import MARK, State, logins_of_cell, secrets_of_cell
from pitboss.cli.supervisor import is_ready
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import processes_marked, wait_until
from pitboss.platform.settings import child_environ, variable

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]
DEMO_GATEWAY = "127.0.0.1:8089"


class Platform:
    """One `pitboss run` without traffic, and commands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = free_block(BLOCK_PORTS)
        self.tenants = folder / "tenants"
        shutil.copytree(ROOT / "tenants", self.tenants)
        for config in (self.tenants / "aurora" / "plugins").glob("*.toml"):
            assert DEMO_GATEWAY in config.read_text()
            here = f"127.0.0.1:{self.base + BLOCK['simulate'][0]}"
            config.write_text(config.read_text().replace(DEMO_GATEWAY, here))
        self.state = folder / "state"
        self.output = folder / "output"
        settings = {
            "PITBOSS_STATE_DIR": str(self.state),
            "PITBOSS_PORT": str(self.base),
            "PITBOSS_CELL": "eu-1",
            "PITBOSS_SIMULATE_RATE": "0",
            "PITBOSS_TENANTS_DIR": str(self.tenants),
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*PITBOSS, "run"], cwd=ROOT, env=child_environ(settings), stdout=output, stderr=subprocess.STDOUT
            )
        assert wait_until(lambda: "Pitboss runs after" in self.output.read_text(), 200), self.output.read_text()
        state = State(self.state)
        fields = {**logins_of_cell(state, "eu-1", self.base + BLOCK["postgres"][0]), **secrets_of_cell(state, "eu-1")}
        values = {variable(field): value for field, value in fields.items()}
        self.environ = child_environ({**values, "PITBOSS_TENANTS_DIR": str(self.tenants)})
        self.operator = {"authorization": f"Bearer {values['PITBOSS_OPERATOR_TOKEN']}", "host": "aurora.localhost"}
        self.address = f"http://127.0.0.1:{self.base + BLOCK['web'][0]}"

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PITBOSS, *words], cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def simulate(self, *words: str) -> subprocess.Popen[str]:
        return self.spawn("simulate", "--target", self.address, "--json", *words)

    def verify(self) -> dict[str, Any]:
        """Prove the ledger and return what was looked at."""
        process = self.spawn("ledger", "verify", "--json")
        printed, said = process.communicate(timeout=200)
        assert process.returncode == 0, printed + said
        (proof,) = json.loads(printed)
        assert proof["findings"] == []
        return proof

    def ask(self, method: str, path: str, **content: Any) -> Any:
        answer = httpx.request(
            method, f"{self.address}/api/v1{path}", headers=self.operator, trust_env=False, **content
        )
        answer.raise_for_status()
        return answer.json()

    def list_players(self) -> set[str]:
        """Return who played the latest rounds."""
        return {item["player_id"] for item in self.ask("GET", "/operator/rounds?page_size=200")["items"]}

    def wait_for_newcomer(self, known: set[str]) -> str:
        """Wait until somebody plays who is not known yet."""
        assert wait_until(lambda: bool(self.list_players() - known), 120)
        return min(self.list_players() - known)

    def web_process(self) -> int:
        wanted = f"PITBOSS_PORT={self.base + BLOCK['web'][0]}".encode()
        (pid,) = [
            pid
            for pid in processes_marked(MARK, str(self.state))
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and os.getpgid(pid) == pid
        ]
        return pid

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(120)
        PostgresServer(self.state / "postgres").remove()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="pitboss-simulate-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)  # the OS user of PostgreSQL has to pass
        started = Platform(Path(name))
        try:
            yield started
        finally:
            started.close()


def end(process: subprocess.Popen[str], timeout_seconds: int = 200) -> tuple[dict[str, Any], str]:
    """Wait for a simulation and return its summary and what it said."""
    try:
        printed, said = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("the simulation does not end: " + "".join(process.communicate()))
    return json.loads(printed or "{}"), said


def listen_for(process: subprocess.Popen[str], word: str) -> str:
    """Wait until a simulation has said `word` and return what it said so far."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if word in line:
            return said
    pytest.fail(f"it ended without {word!r}: {said}")


def test_every_answer_is_the_models_and_the_books_are_right(platform: Platform) -> None:
    process = platform.simulate("--calls", "900", "--rate", "0", "--players", "6", "--seed", "seven")
    summary, said = end(process)
    assert process.returncode == 0, said
    assert summary["mismatches"] == 0
    assert summary["calls"] >= 900
    assert summary["players"] == 6
    assert summary["duplicates"] == summary["duplicates_equal"] > 50
    assert summary["replays"] > 10
    assert summary["bad_signatures"] > 5
    assert summary["balances_compared"] == 6
    assert summary["rounds_compared"] > 10
    assert {"200", "RS_OK", "400 403", "RS_ERROR_INVALID_SIGNATURE"} <= summary["outcomes"].keys()
    # What chance brings in one dialect it need not bring in the other.
    assert {"400 100", "RS_ERROR_NOT_ENOUGH_MONEY"} & summary["outcomes"].keys()
    assert {"400 409", "RS_ERROR_TRANSACTION_ROLLED_BACK"} & summary["outcomes"].keys()
    assert {"500 500", "RS_ERROR_TRANSACTION_DOES_NOT_EXIST"} & summary["outcomes"].keys()
    played = platform.ask("GET", "/operator/rounds?page_size=200")["items"]
    assert {item["plugin"] for item in played} == {"hub88", "softswiss"}
    assert platform.verify()["bookings"] > 200
    found = platform.ask("GET", "/operator/rounds?page_size=200")["items"]
    assert len(found) > 100
    detail = platform.ask("GET", f"/operator/rounds/{found[0]['round']['round_id']}")
    assert detail["parts"][0]["part"] == found[0]
    assert detail["parts"][0]["bookings"]


def test_a_killed_web_loses_and_repeats_nothing(platform: Platform) -> None:
    known = platform.list_players()
    process = platform.simulate("--calls", "900", "--rate", "40", "--players", "8", "--seed", "kill")
    platform.wait_for_newcomer(known)
    os.kill(platform.web_process(), signal.SIGKILL)
    summary, said = end(process)
    assert process.returncode == 0, said
    assert summary["mismatches"] == 0
    assert summary["retries"] > 0
    assert wait_until(lambda: is_ready("127.0.0.1", platform.base + BLOCK["web"][0]), 120)
    platform.verify()


def test_money_from_elsewhere_is_a_difference(platform: Platform) -> None:
    known = platform.list_players()
    process = platform.simulate("--rate", "10", "--players", "1", "--seed", "other")
    newcomer = platform.wait_for_newcomer(known)
    body = {"amount_minor": 1, "currency": "EUR", "reference": f"elsewhere-{platform.base}", "reason": "goodwill"}
    platform.ask("POST", f"/operator/players/{newcomer}/credits", json=body)
    said = listen_for(process, "MISMATCH")
    process.send_signal(signal.SIGTERM)
    summary, more = end(process)
    assert process.returncode == 1, said + more
    assert summary["mismatches"] >= 1


def test_a_signal_ends_it_in_order(platform: Platform) -> None:
    known = platform.list_players()
    process = platform.simulate("--rate", "20", "--players", "3")
    platform.wait_for_newcomer(known)
    process.send_signal(signal.SIGTERM)
    summary, said = end(process)
    assert process.returncode == 0, said
    assert summary["mismatches"] == 0


def test_it_waits_for_a_platform_that_is_not_there(platform: Platform) -> None:
    process = platform.spawn("simulate", "--target", f"http://127.0.0.1:{free_port()}", "--json", "--rate", "1")
    listen_for(process, "waiting for the platform")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    summary, _ = end(process)
    assert summary["calls"] == 0


def test_a_run_that_can_play_nothing_ends_and_says_why(platform: Platform) -> None:
    process = platform.simulate("--domain", "nobody.localhost", "--players", "1", "--calls", "5")
    summary, said = end(process)
    assert process.returncode == 1, said
    assert summary["differences"] == [f"{platform.address} as nobody.localhost has no games to play: 404 web.not_found"]


def test_a_run_whose_players_cannot_enter_ends_and_says_why(platform: Platform) -> None:
    """As where the aggregator and the platform hold different secrets."""
    file = Path(platform.environ["PITBOSS_SECRETS_FILE"])
    other = platform.folder / "other-secrets.toml"
    other.write_text(
        re.sub(r"^(demo-softswiss-api-secret = ).*$", r'\1"another"', file.read_text(), flags=re.MULTILINE)
    )
    settings = {**platform.environ, "PITBOSS_SECRETS_FILE": str(other)}
    words = ("simulate", "--target", platform.address, "--plugin", "softswiss", "--players", "1", "--calls", "5")
    process = subprocess.run(
        [*PITBOSS, *words], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=200, check=False
    )
    assert process.returncode == 1
    assert "a player could not enter: 409 games.launch_refused" in process.stderr
    assert "no player is left to play" in process.stderr


def test_it_refuses_the_settings_of_another_cell(platform: Platform) -> None:
    process = platform.simulate("--tenant", "jangada", "--calls", "5")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "jangada lives in br-1, these are the settings of eu-1" in said
