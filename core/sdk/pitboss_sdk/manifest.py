"""The static manifest of a plugin: read from `manifest.toml` without importing the plugin."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

MANIFEST_VERSION = 1

Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,39}\Z", description="lower case, digits, underscore")]


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the vendor calls us, beside wallet calls. `skew_seconds` is the tolerated age of a signed time, 0 where none is."""

    mode: Literal["signed", "poll_only", "none"]
    skew_seconds: int = 0


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plugin declares about itself; an unknown field or a wrong type is refused."""

    slug: Slug
    kind: Literal["games"]
    title: Annotated[str, Meta(min_length=1, max_length=80)]
    manifest_version: int
    sdk: str
    """Versions of `pitboss_sdk` that the plugin works with, as a PEP 440 specifier."""
    config_version: int
    vendor_api: str
    """The vendor's document and version that the plugin follows."""
    processing_localities: tuple[str, ...]
    """Localities in which the vendor may process data; ``["*"]`` for any."""
    pii: tuple[Literal["none", "player_id", "ip", "country", "language", "name", "email", "birth_date"], ...]
    """Personal data that leaves through the plugin."""
    egress: tuple[str, ...]
    """Host names that the plugin may reach; ``config:<field>`` takes the host from a configuration field."""
    webhooks: Webhooks
    events: tuple[str, ...]
    owner: str
    lifecycle: Literal["experimental", "supported", "deprecated", "retired"]
    capability: dict[str, Any] = {}
    """What the kind asks about: for `games`, see `GamesCapability`."""


class GamesCapability(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plugin of kind `games` can do; the conformance kit holds it against the behaviour."""

    operations: tuple[str, ...]
    rollback_unknown: Literal["tombstone", "refuse"]
    bet_and_win: bool
    round_finish: bool
    free_spins: bool
    jackpots: bool
    game_list: bool
    launch_demo: bool


def list_egress_hosts(manifest: Manifest, config: msgspec.Struct) -> tuple[str, ...]:
    """Return the hosts (with the port where one is written) that a plugin may call for a tenant's configuration."""
    hosts: list[str] = []
    for entry in manifest.egress:
        field = entry.removeprefix("config:")
        if field == entry:
            hosts.append(entry)
            continue
        parts = urlsplit(str(getattr(config, field, "") or ""))
        if parts.hostname:
            hosts.append(f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname)
    return tuple(hosts)
