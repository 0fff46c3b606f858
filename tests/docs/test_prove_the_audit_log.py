"""The guide "Prove the audit log", followed from its text alone on a running platform."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.test_onboard_a_brand import Platform, Reader
from tests.factories.runs import ROOT

from pitboss.audit.runtime import read_witness_file

GUIDE = (ROOT / "core/docs/guides/prove-the-audit-log.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SHELL = [block for language, block in BLOCKS if language == "sh"]


class Auditor(Reader):
    """Types the blocks too; one shell after the other, so each begins with what the first one read."""

    def place(self, text: str) -> str:
        moved = (
            super()
            .place(text)
            .replace("PYTHONPATH=core/verify python3", f"PYTHONPATH={ROOT}/core/verify {sys.executable}")
            .replace(" .pitboss/worm", f" {self.platform.state}/worm")
        )
        entered = f". {self.platform.state}/eu-1.env\n"
        return moved if entered in moved else entered + moved


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Auditor]:
    platform = Platform()
    try:
        yield Auditor(platform, tmp_path_factory.mktemp("auditor"))
    finally:
        platform.close()


def wait_for_checkpoint(auditor: Auditor, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if "pitboss.witness/demo" in auditor.type(".venv/bin/pitboss audit checkpoint aurora"):
                return
        except AssertionError:
            if time.monotonic() > until:
                raise
        assert time.monotonic() < until, "no witness signed in time"
        time.sleep(0.5)


def wait_for_archive(auditor: Auditor, block: str, seconds: float = 150) -> str:
    """Return what a block says once the archive that it looks at has a package."""
    until = time.monotonic() + seconds
    while True:
        try:
            return auditor.type(block)
        except AssertionError:
            if time.monotonic() > until:
                raise
        time.sleep(1)


def test_the_text_can_be_followed(auditor: Auditor) -> None:
    """One test for the whole way: each step stands on the one before."""
    wait_for_checkpoint(auditor)
    keys, packed, checked, single, inside, reconciled, read, archive, control = SHELL
    assert [line.split("+")[0] for line in auditor.type(keys).split()] == [
        "pitboss.audit/eu-1/aurora",
        "pitboss.witness/demo",
    ]
    auditor.type(packed)
    said = auditor.type(checked)
    assert said.splitlines()[0].endswith(": sound")
    assert json.loads(said.split("\n", 1)[1])["sound"] is True
    assert "sound" in auditor.type(single)
    assert "agree" in auditor.type(inside)
    assert "each change has its event" in auditor.type(reconciled)
    auditor.type(read)
    for block in (archive, control):
        said = wait_for_archive(auditor, block)
        assert re.search(r"(\d+) of \1 objects seen locked: sound", said), said
    package = auditor.folder / "build/audit/package"
    segment = next((package / "entries").iterdir())
    segment.write_bytes(segment.read_bytes()[:-9])
    words = [
        sys.executable,
        "-m",
        "pitboss_verify",
        str(package),
        "--keys",
        str(auditor.folder / "build/audit/keys.txt"),
    ]
    alone = {"PYTHONPATH": str(ROOT / "core/verify")}
    done = subprocess.run(words, cwd=auditor.folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not the file that was packed" in done.stdout


def test_the_witness_file_is_one(tmp_path: Path) -> None:
    (block,) = [block for language, block in BLOCKS if language == "toml"]
    file = tmp_path / "witness.toml"
    file.touch(mode=0o600)
    file.write_text(re.sub(r'"[^"]*in hexadecimal"', f'"{"ab" * 32}"', block))
    name, _, policies = read_witness_file(file)
    assert (name, policies[0].prefix) == ("pitboss.witness/demo", "pitboss.audit/eu-1/")
