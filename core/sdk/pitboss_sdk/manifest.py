"""The static manifest of a plugin: read from `manifest.toml` without importing the plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pitboss_sdk.events import EVENTS

MANIFEST_VERSION = 1

Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,39}\Z", description="lower case, digits, underscore")]


MAX_SKEW_SECONDS = 3600
"""Nobody's clock is that wrong; a longer tolerance would be an invitation to send old calls again."""


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the vendor calls us, beside wallet calls.

    `skew_seconds` says how far a signed time may be from ours, either way; 0 where the vendor signs none.
    """

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
    """What webhooks may become, of the kind's list in `pitboss_sdk.events`; empty without them."""
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
    transaction_list: bool = False
    """Whether the aggregator can be asked for its own books: see `pitboss_sdk.games.TransactionLister`."""
    call_skew_seconds: int = 0
    """How far the signed time of a wallet call may be from `RawCall.received_at_us`, either way; 0 where none is signed."""


def find_webhook_faults(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield key and reason where a manifest contradicts itself, or its kind, about webhooks."""
    webhooks, events = manifest.webhooks, manifest.events
    if not 0 <= webhooks.skew_seconds <= MAX_SKEW_SECONDS:
        yield "webhooks.skew_seconds", f"is not from 0 to {MAX_SKEW_SECONDS}"
    if manifest.kind == "games" and webhooks.mode == "poll_only":
        yield "webhooks.mode", "nothing of the kind games is asked for again and again; write none"
    if len(set(events)) < len(events):
        yield "events", "names one twice"
    for name in events:
        if name not in EVENTS[manifest.kind]:
            yield "events", f"{name!r} is no event of the kind {manifest.kind}"
    if webhooks.mode == "signed":
        if not events:
            yield "events", "is empty, though webhooks are signed: what would they become?"
        return
    if webhooks.skew_seconds:
        yield "webhooks.skew_seconds", f"has no meaning without signed webhooks ({webhooks.mode})"
    if events:
        yield "events", f"names events, but there are no signed webhooks ({webhooks.mode})"


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
