"""The guide "Onboard a brand", followed from its text alone on a running platform."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.factories.ports import free_block, free_port
from tests.factories.runs import PITBOSS, ROOT, Run

from pitboss.cli.stack import BLOCK, BLOCK_PORTS, DEMO_PORT
from pitboss.platform.embedded import PostgresServer
from pitboss.tenancy.contracts import CellPlace, Offer, TenantFile
from pitboss.tenancy.rules import find_tenant_problems
from pitboss.themes.contracts import BrandTheme
from pitboss.themes.rules import describe_theme
from pitboss.themes.service import check_theme

GUIDE = (ROOT / "core/docs/guides/onboard-a-brand.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SHELL = [block for language, block in BLOCKS if language == "sh"]


class Platform:
    """One `pitboss run` without traffic of its own, from a folder and a block of ports that nobody else uses."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pitboss-guide-"))
        self.folder.chmod(0o711)
        self.base = free_block(BLOCK_PORTS)
        self.state = self.folder / "state"
        settings = {
            "PITBOSS_PORT": str(self.base),
            "PITBOSS_SIMULATE_RATE": "0",
            "PITBOSS_TENANTS_DIR": str(ROOT / "tenants"),
        }
        self.run = Run([*PITBOSS, "run"], ROOT, self.state, output=self.folder / "output", **settings)
        self.run.wait_for("Pitboss runs after", 180)

    def close(self) -> None:
        self.run.end()
        PostgresServer(self.state / "postgres").remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self) -> httpx.Client:
        """Return a client of the brand's pages."""
        address = f"http://127.0.0.1:{self.base + BLOCK['web'][0]}"
        return httpx.Client(base_url=address, headers={"host": "nova.localhost"}, timeout=20)


class Reader:
    """Types the guide's blocks as they stand; only ports and the state folder are those of the test's own platform."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.folder = folder
        self._gateway = str(free_port())

    def place(self, text: str) -> str:
        moved = re.sub(r"(?<=:)80([89]\d)\b", lambda found: str(self.platform.base + int(found[1]) - 80), text)
        moved = moved.replace("8070", self._gateway).replace(". .pitboss/", f". {self.platform.state}/")
        return moved.replace(".venv/bin/", f"{ROOT}/.venv/bin/")

    def type(self, block: str) -> str:
        """Run a block, stopping at the first command that fails, and return what it printed."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}
        done = subprocess.run(
            ["bash", "-euc", self.place(block)],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    platform = Platform()
    try:
        yield Reader(platform, tmp_path_factory.mktemp("reader"))
    finally:
        platform.close()


def find_block(beginning: str, spoken: str = "sh") -> str:
    (found,) = [block for language, block in BLOCKS if language == spoken and beginning in block]
    return found


def test_the_text_can_be_followed(reader: Reader) -> None:
    """One test for the whole way: each step stands on the one before."""
    steps = [
        find_block("tenant new nova"),
        find_block("ledger verify"),
        find_block("tenant drift nova"),
        find_block("tenant export nova --replace"),
        find_block("trying_it_out"),
        find_block("--into build/live"),
        find_block("contract_ended"),
    ]
    assert steps == SHELL, "every block of the guide is typed, in its order"
    began = time.monotonic()
    said = reader.type(steps[0])
    print(f"from the template to the first bets in {time.monotonic() - began:.1f} s")
    assert re.search(r"^mismatches +0$", said, re.MULTILINE)
    bets = re.search(r"^calls +(\d+)$", said, re.MULTILINE)
    assert bets
    assert int(bets[1]) >= 10
    for shown in re.findall(r"^  \+ theme\..*$", GUIDE, re.MULTILINE):
        assert shown in said
    with reader.platform.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "Nova Play" in page.text
        assert "--brand: #0b6e4f;" in client.get("/theme/brand.css").text
        assert client.get("/api/docs").status_code == 200
    assert "nova" in reader.type(steps[1])
    assert "nova: as its files say" in reader.type(steps[2])
    tenants = reader.platform.state / "tenants"
    before = tomllib.loads((tenants / "nova/tenant.toml").read_text())
    reader.type(steps[3])
    assert tomllib.loads((tenants / "nova/tenant.toml").read_text()) == before
    assert "nova is active" in reader.type(steps[4])
    assert "gateway_url" in reader.type(steps[5])
    live = tomllib.loads((reader.folder / "build/live/nova/tenant.toml").read_text())
    assert (live["environment"], live["brands"][0]["domains"]) == ("production", ["nova.example"])
    assert live["public_id"] != before["public_id"]
    assert "nova is closed" in reader.type(steps[6])
    with reader.platform.client() as client:
        assert is_gone(client)
    heir = """
(. .pitboss/control.env; .venv/bin/pitboss tenant new heir --domain heir.localhost)
sed -i 's/heir.localhost/nova.localhost/' {tenants}/heir/tenant.toml
rm -r {tenants}/nova
(. .pitboss/control.env; .venv/bin/pitboss tenant apply heir || test $? = 1)
"""
    assert "domain nova.localhost belongs to tenant nova" in reader.type(heir.format(tenants=tenants))


def is_gone(client: httpx.Client) -> bool:
    """Return whether a closed brand is away; the web looks for a newer directory every two seconds."""
    for _ in range(50):
        if client.get("/").status_code == 404:
            return True
        time.sleep(0.2)
    return False


def test_the_theme_that_is_shown_is_one() -> None:
    shown = tomllib.loads(find_block("colour =", "toml"))
    logo = (ROOT / "tenants/aurora/theme/aurora.png").read_bytes()
    themes, problems = check_theme("nova", shown, {"nova.png": logo}, {"nova": ("en", "es")})
    assert problems == []
    told = describe_theme(themes["nova"])
    for mode in ("light", "dark"):
        assert f'theme.nova.{mode}  "{told[mode]}"' in GUIDE


def test_the_brands_of_several_licences_are_as_the_files_take_them() -> None:
    written = tomllib.loads((ROOT / "tenants/aurora/tenant.toml").read_text())
    shown = tomllib.loads(find_block('packs = ["mt_mga", "se_sga"]', "toml"))
    tenant = msgspec.convert({**written, **shown}, TenantFile)
    offer = Offer({"eu-1": CellPlace("eu-1", "eu")})
    assert find_tenant_problems("aurora", tenant, offer) == []
    assert {brand.slug: brand.pack for brand in tenant.brands} == {"nova": "mt_mga", "norr": "se_sga"}
    shown["brands"][1]["pack"] = ""
    (problem,) = find_tenant_problems("aurora", msgspec.convert({**written, **shown}, TenantFile), offer)
    assert f"{problem.key}: {problem.reason}".startswith("brands[1].pack: missing")


@pytest.mark.parametrize(("key", "value"), [("color", "#0b6e4f"), ("colour", "#ffffff")])
def test_the_refusals_are_as_shown(key: str, value: str) -> None:
    table = {"brands": {"nova": {"colour": "#0b6e4f", key: value}}}
    _, (problem,) = check_theme("nova", table, {}, {"nova": ("en", "es")})
    assert f"\n{problem}\n" in GUIDE


def test_the_ports_are_those_of_the_first_block() -> None:
    assert DEMO_PORT == 8080
    assert BrandTheme(colour="#0b6e4f").colour in find_block("tenant new nova")
