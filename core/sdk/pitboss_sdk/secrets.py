"""References to secrets: configuration files name a secret, the host resolves it late."""

from __future__ import annotations

import msgspec


class SecretRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name in the cell's secret store, written in TOML as ``api_secret = { secret = "name" }``."""

    secret: str
