"""Each import contract is seen to catch a planted violation, and the tree as it is passes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[[Path], "subprocess.CompletedProcess[str]"]

APP = "core/app/pitboss"
GAMES = "plugins/games/softswiss/pitboss_plugins/games/softswiss"
PACK = "jurisdictions/mt_mga/pitboss_jurisdictions/mt_mga"


def test_the_skeleton_keeps_every_contract(skeleton: Path, lint_imports: Run) -> None:
    result = lint_imports(skeleton)
    assert result.returncode == 0, result.stdout + result.stderr


def plant(tree: Path, path: str, text: str) -> None:
    """Write a module into the copy, with its packages; a module that is there keeps what it has."""
    file = tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if not path.startswith(("plugins/", "jurisdictions/")):
        for folder in file.parents:
            if folder.name in {"app", "sdk", "verify"}:
                break
            (folder / "__init__.py").touch()
    before = file.read_text() if file.exists() else '"""Planted."""\n'
    file.write_text(f"{before}\n{text}\n")


def test_the_tree_keeps_every_contract(root: Path, lint_imports: Run) -> None:
    result = lint_imports(root)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "8 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("path", "text", "broken", "others"),
    [
        pytest.param(
            f"{APP}/kernel/planted.py",
            "import pitboss.platform.planted",
            "Imports of the application point downward",
            {f"{APP}/platform/planted.py": ""},
            id="layers-upward",
        ),
        pytest.param(
            f"{APP}/ledger/contracts.py",
            "import pitboss.accounts.contracts",
            "Imports of the application point downward",
            {f"{APP}/accounts/contracts.py": ""},
            id="layers-sibling",
        ),
        pytest.param(
            f"{APP}/roulette/service.py",
            "X = 1",
            "Imports of the application point downward",
            {},
            id="layers-unnamed-room",
        ),
        pytest.param(
            f"{APP}/wallet/service.py",
            "import pitboss.ledger.store",
            "Private files of a room stay private",
            {f"{APP}/ledger/store.py": ""},
            id="private-store",
        ),
        pytest.param(
            f"{APP}/web/planted.py",
            "from pitboss.ledger import tables",
            "Private files of a room stay private",
            {f"{APP}/ledger/tables.py": ""},
            id="private-tables-from-an-edge",
        ),
        pytest.param(
            f"{APP}/wallet/service.py",
            "import pitboss.limits.rules",
            "Private files of a room stay private",
            {f"{APP}/limits/rules.py": ""},
            id="private-rules-from-a-service",
        ),
        pytest.param(
            f"{APP}/wallet/service.py",
            "import pitboss.plughost.runtime",
            "Private files of a room stay private",
            {f"{APP}/plughost/runtime.py": ""},
            id="private-runtime",
        ),
        pytest.param(
            f"{APP}/ledger/rules.py",
            "import pitboss.ledger.store",
            "pure files stay pure",
            {f"{APP}/ledger/store.py": ""},
            id="rules-import-the-store",
        ),
        pytest.param(f"{APP}/ledger/rules.py", "import random", "pure files stay pure", {}, id="rules-with-chance"),
        pytest.param(
            f"{APP}/ledger/rules.py",
            "import pitboss.platform.planted",
            "pure files stay pure",
            {f"{APP}/platform/planted.py": ""},
            id="rules-import-the-platform",
        ),
        pytest.param(
            f"{APP}/ledger/service.py", "import redis", "A library is used where it belongs", {}, id="library-home"
        ),
        pytest.param(
            f"{APP}/plughost/runtime.py",
            "import pitboss_plugins.games.softswiss.planted",
            "never by import",
            {f"{GAMES}/planted.py": ""},
            id="application-imports-a-plugin",
        ),
        pytest.param(
            f"{APP}/policy/service.py",
            "import pitboss_jurisdictions.mt_mga.planted",
            "never by import",
            {f"{PACK}/planted.py": ""},
            id="application-imports-a-pack",
        ),
        pytest.param(f"{PACK}/planted.py", "import pitboss.kernel", "Packs import the SDK", {}, id="pack-imports-host"),
        pytest.param(f"{PACK}/planted.py", "import socket", "Packs import the SDK", {}, id="pack-with-sockets"),
        pytest.param(
            f"{APP}/policy/service.py",
            "import pitboss.ledger.service",
            "Imports of the application point downward",
            {f"{APP}/ledger/service.py": ""},
            id="layers-policy-upward",
        ),
        pytest.param(
            "core/verify/pitboss_verify/planted.py",
            "import msgspec",
            "The verifier of audit logs",
            {},
            id="verifier-with-a-library",
        ),
        pytest.param(
            "core/sdk/pitboss_sdk/planted.py", "import httpx", "The SDK imports msgspec", {}, id="sdk-with-http"
        ),
        pytest.param(
            "core/sdk/pitboss_sdk/planted.py",
            "import pitboss.kernel",
            "The SDK imports msgspec",
            {},
            id="sdk-imports-the-application",
        ),
        pytest.param(
            f"{GAMES}/planted.py", "import pitboss.kernel", "Plugins import the SDK", {}, id="plugin-imports-host"
        ),
        pytest.param(f"{GAMES}/planted.py", "import socket", "Plugins import the SDK", {}, id="plugin-with-sockets"),
    ],
)
def test_a_planted_import_breaks_its_contract(
    skeleton: Path, lint_imports: Run, path: str, text: str, broken: str, others: dict[str, str]
) -> None:
    for other, content in others.items():
        plant(skeleton, other, content)
    plant(skeleton, path, text)
    result = lint_imports(skeleton)
    assert result.returncode == 1, result.stdout + result.stderr
    verdicts = {line for line in result.stdout.splitlines() if line.endswith(("KEPT", "BROKEN"))}
    assert len(verdicts) == 8, result.stdout
    assert any(broken in line and line.endswith("BROKEN") for line in verdicts), result.stdout


@pytest.mark.parametrize(
    ("path", "text", "others"),
    [
        (f"{APP}/wallet/rules.py", "import pitboss.limits.rules", {f"{APP}/limits/rules.py": ""}),
        (f"{APP}/wallet/service.py", "import pitboss.ledger.service", {f"{APP}/ledger/service.py": ""}),
        (f"{APP}/web/planted.py", "import pitboss.wallet.runtime", {f"{APP}/wallet/runtime.py": ""}),
        (f"{GAMES}/planted.py", "import hmac, msgspec, pitboss_sdk.games", {}),
        (f"{PACK}/planted.py", "import decimal, msgspec, pitboss_sdk.jurisdiction", {}),
    ],
    ids=["pure-uses-pure", "public-file", "edge-uses-runtime", "plugin-uses-sdk", "pack-uses-sdk"],
)
def test_an_allowed_import_breaks_nothing(
    skeleton: Path, lint_imports: Run, path: str, text: str, others: dict[str, str]
) -> None:
    for other, content in others.items():
        plant(skeleton, other, content)
    plant(skeleton, path, text)
    result = lint_imports(skeleton)
    assert result.returncode == 0, result.stdout + result.stderr
