"""Events that a webhook of a plugin may be translated into, by the kind of the plugin."""

from __future__ import annotations

from typing import Final

import msgspec


class CatalogueChanged(msgspec.Struct, frozen=True, tag="games.catalogue_changed"):
    """The aggregator's list of games is another: the host asks for it at once."""


class GameSuspended(msgspec.Struct, frozen=True, tag="games.game_suspended"):
    """The aggregator has taken a game out of play: no launch and no new bet until it is resumed."""

    game: str


class GameResumed(msgspec.Struct, frozen=True, tag="games.game_resumed"):
    """A game that was suspended is in play again, as far as the operator has it switched on."""

    game: str


GamesEvent = CatalogueChanged | GameSuspended | GameResumed

EVENTS: Final[dict[str, dict[str, type[msgspec.Struct]]]] = {
    "games": {str(kind.__struct_config__.tag): kind for kind in (CatalogueChanged, GameSuspended, GameResumed)},
}
"""Every event by kind and name: what a manifest may list, and nothing else."""


def name_event(event: object) -> str:
    """Return the name of an event as manifests write it; an empty string for what is none."""
    config = getattr(event, "__struct_config__", None)
    return str(config.tag) if config is not None and isinstance(config.tag, str) else ""
