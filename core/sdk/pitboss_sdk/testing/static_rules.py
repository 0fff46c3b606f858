"""Rules that need no call: the manifest, the class, the configuration and the source text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pitboss_sdk.contract import find_contract_faults
from pitboss_sdk.manifest import MANIFEST_VERSION, find_webhook_faults
from pitboss_sdk.plugin import InvalidConfiguration
from pitboss_sdk.secrets import list_secrets
from pitboss_sdk.testing.bench import Bench
from pitboss_sdk.testing.double import Subject

FORBIDDEN: Final = frozenset(
    (
        "asyncio ctypes ftplib http imaplib multiprocessing os poplib requests httpx aiohttp urllib3 select selectors "
        "shutil signal smtplib socket socketserver ssl subprocess telnetlib threading urllib.request xmlrpc"
    ).split()
)
"""Modules that reach past the injected client, and so have no place in a plugin."""
CLOCK_AND_CHANCE: Final = frozenset({"time", "random", "secrets"})
"""Modules that answer differently each time: neither a dialect nor a call to the vendor may depend on them."""
BUILT_IN: Final = frozenset({"open", "eval", "exec", "compile", "__import__", "input", "breakpoint", "print"})
_SECRET: Final = re.compile(r"secret|password|passwd|token|private_key|api_key", re.ASCII)


def find_manifest_faults(subject: Subject) -> Iterator[str]:
    """The manifest is one that this SDK reads."""
    if subject.manifest.manifest_version != MANIFEST_VERSION:
        yield f"manifest_version is {subject.manifest.manifest_version}, this SDK reads {MANIFEST_VERSION}"
    try:
        operations = subject.capability.operations
    except msgspec.ValidationError as error:
        yield f"capability: {error}"
        return
    if len(set(operations)) < len(operations) or not operations:
        yield "capability.operations is empty or names one twice"
    for key, reason in find_webhook_faults(subject.manifest):
        yield f"{key}: {reason}"


def find_class_faults(subject: Subject) -> Iterator[str]:
    """The class has the methods, attributes and refusals of its kind, and the operations of its manifest."""
    yield from find_contract_faults(subject.plugin, subject.manifest)


def find_forbidden_code(subject: Subject) -> Iterator[str]:
    """No way past the injected client, no clock and no chance is imported; nothing is opened, run, printed or verified by ==."""
    for file, text in subject.sources.items():
        tree = ast.parse(text)
        yield from (
            f"{file}:{line}: compares with ==, which takes longer the more is right" for line in _careless(tree)
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILT_IN:
                yield f"{file}:{node.lineno}: calls {node.func.id}()"
                continue
            else:
                continue
            forbidden = FORBIDDEN | CLOCK_AND_CHANCE
            for name in sorted({name for name in names if forbidden & {name, name.split(".")[0]}}):
                yield f"{file}:{node.lineno}: imports {name}"


def _careless(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of a `verify` that compare what was computed, beside lengths, with == or !=."""
    for function in ast.walk(tree):
        if not (isinstance(function, ast.FunctionDef) and function.name == "verify"):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
                sides = [side for side in (node.left, *node.comparators) if isinstance(side, ast.Call)]
                if any(not (isinstance(side.func, ast.Name) and side.func.id == "len") for side in sides):
                    yield node.lineno


def find_secrets_in_the_clear(subject: Subject) -> Iterator[str]:
    """What is secret in a configuration is a reference, never the value."""
    for field in msgspec.structs.fields(subject.plugin.Config):
        if _SECRET.search(field.name) and field.type is str:
            yield f"Config.{field.name} takes a secret in the clear; make it a SecretRef"


def find_secrets_missing(bench: Bench) -> Iterator[str]:
    """A secret that is missing or empty refuses the configuration, and no message tells another."""
    secrets = bench.subject.secrets
    config = msgspec.convert(bench.subject.config, bench.subject.plugin.Config)
    for name in list_secrets(config):
        for broken in ({key: value for key, value in secrets.items() if key != name}, {**secrets, name: ""}):
            try:
                bench.build(broken)
            except InvalidConfiguration as refused:
                if any(value.strip() and value.strip()[:64] in refused.detail for value in secrets.values()):
                    yield f"the refusal of a configuration without {name!r} tells a secret"
            except Exception as error:  # noqa: BLE001 whatever else the constructor raises is its fault and is told
                yield f"without the secret {name!r} it raises {type(error).__name__}, not InvalidConfiguration"
            else:
                yield f"without the secret {name!r} it is built all the same"


def find_migrations_missing(bench: Bench) -> Iterator[str]:
    """Every older version of the configuration becomes a present one."""
    subject = bench.subject
    for old in range(1, subject.manifest.config_version):
        table: Any = subject.old_configs.get(old)
        if table is None:
            yield f"no configuration of version {old} is given to the kit (old_configs)"
            continue
        try:
            msgspec.convert(subject.plugin.migrate_config(old, dict(table)), subject.plugin.Config)
        except Exception as error:  # noqa: BLE001 whatever it raises keeps a tenant from starting, and is told
            yield f"a configuration of version {old} does not become one of the present: {error}"
