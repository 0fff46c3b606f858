"""Plugins made on the spot: real distributions in a folder on the import path."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

MANIFEST = """
slug = "{slug}"
kind = "games"
title = "A plugin of the tests"
manifest_version = 1
sdk = ">=0.1,<0.2"
config_version = 1
vendor_api = "none"
processing_localities = ["eu", "br"]
pii = ["player_id"]
egress = ["config:gateway_url", "api.example.com"]
events = []
owner = "tests"
lifecycle = "experimental"

[webhooks]
mode = "none"

[capability]
operations = ["bet", "win"]
rollback_unknown = "tombstone"
bet_and_win = false
round_finish = false
free_spins = false
jackpots = false
game_list = true
launch_demo = false
"""

DRIVER = """
import msgspec
from pitboss_sdk.games import DialectResponse
from pitboss_sdk.secrets import SecretRef

class Nested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: SecretRef

class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway_url: str
    api_secret: SecretRef
    others: list[Nested] = []

class Plugin:
    Config = Config
    operations = frozenset({"bet", "win"})
    max_body_bytes = 1024
    answer_within_ms = 1000

    def __init__(self, config, secrets):
        self.config, self.secrets = config, secrets
        if config.gateway_url == "boom":
            raise RuntimeError(str(secrets))

    def verify(self, call): ...
    def parse(self, call): ...
    def render(self, call, answer): ...
    @classmethod
    def render_refusal(cls, refusal, detail=""):
        return DialectResponse(400, b"{}")
    async def list_games(self, http): ...
    async def launch(self, http, request): ...
"""

Install = Callable[..., Path]


@pytest.fixture
def manifest_text() -> str:
    return MANIFEST.replace("{slug}", "made")


@pytest.fixture
def driver_text() -> str:
    return DRIVER


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution with one plugin; `layout` is how: as a wheel does, by .pth, or by direct_url alone."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def make(
        slug: str,
        *,
        manifest: str | None = MANIFEST,
        driver: str = DRIVER,
        name: str | None = None,
        entry: str | None = None,
        version: str = "1.0",
        group: str = "pitboss.games",
        layout: str = "wheel",
    ) -> Path:
        package = f"made_{slug}"
        distribution = name or f"made-{slug}"
        root = site if layout == "wheel" else tmp_path / f"project-{distribution}"
        code = root / "src" if layout == "direct" else root
        folder = code / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
        (folder / "driver.py").write_text(dedent(driver))
        if manifest is not None:
            (folder / "manifest.toml").write_text(manifest.replace("{slug}", slug))
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry or slug} = {package}.driver:Plugin\n")
        record = [f"{info.name}/METADATA,,"]
        if layout == "wheel":
            record += [f"{package}/driver.py,,", *([f"{package}/manifest.toml,,"] if manifest is not None else [])]
        elif layout == "pth":
            (site / f"_{package}.pth").write_text(f"import sys\n# a comment\n{code}\n")
            record.append(f"_{package}.pth,,")
            monkeypatch.syspath_prepend(str(code))
        else:
            direct = {"url": root.as_uri(), "dir_info": {"editable": True}}
            (info / "direct_url.json").write_text(json.dumps(direct))
            record.append(f"{info.name}/direct_url.json,,")
            monkeypatch.syspath_prepend(str(code))
        (info / "RECORD").write_text("\n".join(record) + "\n")
        return folder

    yield make
    for module in set(sys.modules) - before:
        if module.startswith("made_"):
            del sys.modules[module]
