"""Keys of the demo's audit logs, and of the witness that signs beside them; made once and kept."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pitboss.cli.state import State
from pitboss.platform.embedded import write_private

WITNESS_NAME: Final = "pitboss.witness/demo"


def prepare_witness(state: State, cells: Iterable[str]) -> tuple[Path, str]:
    """Make what is missing; return the witness's file and its public key as auditors and cells are given it.

    The witness goes on believing every key that it was told of, so a log whose key was replaced stays witnessed.
    """
    from pitboss.audit.runtime import describe_witness, read_key_file

    file = state.folder / "witness.toml"
    known: dict[str, Any] = tomllib.loads(file.read_text()) if file.exists() else {}
    believed = {log["prefix"]: set(log["public_keys"]) for log in known.get("logs", [])}
    for cell in cells:
        keys_file = state.audit_keys(cell)
        if not keys_file.exists():
            write_private(keys_file, f'current = "{secrets.token_hex(32)}"\n')
        found = {key.public_key().public_bytes_raw().hex() for key in read_key_file(keys_file)}
        believed.setdefault(f"pitboss.audit/{cell}/", set()).update(found)
    logs = [
        f"[[logs]]\nprefix = {json.dumps(prefix)}\npublic_keys = {json.dumps(sorted(keys))}\n"
        for prefix, keys in sorted(believed.items())
    ]
    seed = known.get("key") or secrets.token_hex(32)
    write_private(file, "\n".join([f'name = "{WITNESS_NAME}"', f'key = "{seed}"', "", *logs]))
    return file, describe_witness(file)
