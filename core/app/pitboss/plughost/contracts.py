"""Values of the plugin host that cross its border."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from pitboss_sdk.games import GameInfo, Launched, LaunchRequest, ListedTransaction, TransactionsRequest
from pitboss_sdk.jurisdiction import Pack, PackManifest
from pitboss_sdk.manifest import Manifest
from pitboss_sdk.outcome import Outcome
from pitboss_sdk.webhooks import Accepted, RawWebhook

ENTRY_POINT_PREFIX: Final = "pitboss."
"""Entry point groups of plugins are this and a kind."""

PACK_KIND: Final = "jurisdiction"
"""The kind of jurisdiction packs: data that is read and never imported."""

KINDS: Final = frozenset({"games", PACK_KIND})
"""Kinds of plugins and packs that this host knows."""

CATALOGUE_JOB: Final = "games.sync_catalogue"
"""The job that a plugin of kind `games` leaves behind when it is enabled or changed: its list of games is fetched."""


WEBHOOK_JOB: Final = "plughost.carry_out_webhook"
"""The job that a stored webhook leaves behind: its payload names `plugin` and `event_id`."""


class Stage(IntEnum):
    """How far a plugin came through the gates; whatever kept it from the next is among its problems."""

    DISCOVERED = 1
    COMPATIBLE = 2
    ALLOWED = 3
    LOADED = 4


class Candidate(msgspec.Struct, frozen=True):
    """An installed plugin or pack. `name` is that of its entry point; `manifest` is None when it cannot be read.

    `target` is where the entry point leads, `manifest_file` the path of the manifest, for messages.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    manifest_file: str = ""
    manifest: Manifest | PackManifest | None = None
    stage: Stage = Stage.DISCOVERED
    problems: tuple[str, ...] = ()


class LoadedPlugin(msgspec.Struct, frozen=True):
    """A plugin that passed every gate of the process; `driver` is the class that its entry point names."""

    manifest: Manifest
    distribution: str
    version: str
    driver: type[Any]

    @property
    def slug(self) -> str:
        """The name that configuration files and wallet addresses use."""
        return self.manifest.slug


class LoadedPack(msgspec.Struct, frozen=True):
    """A jurisdiction pack that passed every gate of the process."""

    pack: Pack
    distribution: str
    version: str

    @property
    def slug(self) -> str:
        """The name that tenants' files use."""
        return self.pack.manifest.slug


class AllowedPlugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A distribution that may run in a cell, and its versions as a PEP 440 specifier."""

    distribution: Annotated[str, Meta(min_length=1)]
    versions: Annotated[str, Meta(min_length=1)]


class CellFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`deploy/cells/<cell>.toml`: a deployed stack, its legal zone, and the plugins and packs that it may run.

    `address` is where browsers, aggregators and control reach the web of the cell.
    """

    cell: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")]
    locality: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*\Z")]
    address: Annotated[str, Meta(pattern=r"^(https?://[a-z0-9.-]+(:[0-9]{1,5})?)?\Z")] = ""
    plugins: tuple[AllowedPlugin, ...] = ()
    packs: tuple[AllowedPlugin, ...] = ()


class Enablement(msgspec.Struct, frozen=True):
    """A plugin of a tenant; `config` is the tenant's table as it was given, with references for secrets."""

    slug: str
    kind: str
    distribution: str
    version: str
    config: dict[str, Any]
    config_version: int
    enabled: bool
    updated_at: datetime


class GamesCalls(Protocol):
    """A tenant's driver of kind `games` behind the guard: no call raises what the plugin or its vendor does."""

    async def list_games(self) -> Outcome[tuple[GameInfo, ...]]:
        """Return the whole catalogue that the aggregator offers this tenant."""
        ...

    async def launch(self, request: LaunchRequest) -> Outcome[Launched]:
        """Open a game session at the aggregator."""
        ...


class TransactionCalls(Protocol):
    """The part of such a driver that asks for the aggregator's own books."""

    @property
    def lists_transactions(self) -> bool:
        """Whether the plugin can ask for them."""
        ...

    async def list_transactions(self, request: TransactionsRequest) -> Outcome[tuple[ListedTransaction, ...]]:
        """Return what the aggregator's books hold of a span or a round."""
        ...


class HealthState(IntEnum):
    """How a driver fares: its vendor answers, fails again and again, or the plugin itself breaks its contract."""

    HEALTHY = 0
    DEGRADED = 1
    QUARANTINED = 2


class DriverHealth(msgspec.Struct, frozen=True):
    """A tenant's driver as a process sees it; `reason` is the last outcome's, `seen_at` seconds since 1970."""

    tenant: str
    plugin: str
    state: HealthState
    reason: str
    seen_at: int


class Verdict(IntEnum):
    """What a call says about its driver: the vendor answered, it did not, or the plugin broke its contract."""

    SUCCESS = 0
    FAILURE = 1
    FAULT = 2


class Circuit(msgspec.Struct, frozen=True):
    """What is remembered of a driver's last calls; moments are those of a monotonic clock, in seconds.

    `failures` and `faults` are counted in a row. While `paused_until` lies ahead no call is made; then one is,
    `on_trial`, and its verdict decides for the others.
    """

    failures: int = 0
    faults: int = 0
    paused_until: float | None = None
    on_trial: bool = False

    @property
    def is_paused(self) -> bool:
        """Whether calls were stopped and no call has succeeded since."""
        return self.paused_until is not None


class ConfiguredPlugins(msgspec.Struct, frozen=True):
    """A tenant's plugins of one kind, built and ready, and why the others are not; both by slug."""

    instances: dict[str, Any]
    problems: dict[str, str]


class WebhookState(IntEnum):
    """Stored until it is carried out; superseded when a newer event of its object was, parked when nobody could."""

    STORED = 1
    DONE = 2
    SUPERSEDED = 3
    PARKED = 4


class Webhook(msgspec.Struct, frozen=True):
    """A webhook that its receiver accepted: the raw call with the headers that are kept, and what it says of itself."""

    plugin: str
    raw: RawWebhook
    accepted: Accepted


class ParkedWebhook(msgspec.Struct, frozen=True):
    """A webhook that nobody could carry out, without what it said."""

    plugin: str
    event_id: str
    received_at: datetime
    attempts: int
    reason: str


class StoredWebhook(msgspec.Struct, frozen=True):
    """A webhook as it lies in the database; `attempts` is how often it could not be carried out."""

    webhook: Webhook
    state: WebhookState
    attempts: int
    reason: str


class Settled(msgspec.Struct, frozen=True):
    """What became of a webhook in one attempt; STORED when it is tried again later, then and when parked with a reason."""

    state: WebhookState
    reason: str = ""
