"""Values of the plugin host that cross its border."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from pitboss_sdk.jurisdiction import Pack, PackManifest
from pitboss_sdk.manifest import Manifest
from pitboss_sdk.plugin import HttpClient

ENTRY_POINT_PREFIX: Final = "pitboss."
"""Entry point groups of plugins are this and a kind."""

PACK_KIND: Final = "jurisdiction"
"""The kind of jurisdiction packs: data that is read and never imported."""

KINDS: Final = frozenset({"games", PACK_KIND})
"""Kinds of plugins and packs that this host knows."""


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
    """`deploy/cells/<cell>.toml`: a deployed stack, its legal zone, and the plugins and packs that it may run."""

    cell: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")]
    locality: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*\Z")]
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


class Driver(msgspec.Struct, frozen=True):
    """A plugin configured for one tenant, and the client through which alone it may leave the process."""

    instance: Any
    http: HttpClient


class ConfiguredPlugins(msgspec.Struct, frozen=True):
    """A tenant's plugins of one kind, built and ready, and why the others are not; both by slug."""

    instances: dict[str, Any]
    problems: dict[str, str]
