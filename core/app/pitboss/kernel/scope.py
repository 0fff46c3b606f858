"""Whose data, in which cell, and who is asking: always arguments, never ambient."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError


class ForeignCell(PitbossError):
    """A scope was used against the resources of another cell."""

    code = "kernel.foreign_cell"
    kind = ErrorKind.BUG


class TenantScope(msgspec.Struct, frozen=True):
    """One tenant in one cell. `tenant_id` is the number inside the cell, `slug` the name in paths."""

    tenant_id: int
    slug: str
    cell: str


class ActorKind(StrEnum):
    """What stands behind an action."""

    PLAYER = "player"
    OPERATOR = "operator"
    PROVIDER = "provider"
    SERVICE = "service"
    DEPLOYMENT = "deployment"


class Actor(msgspec.Struct, frozen=True):
    """Who acts. `name` is stable and holds no personal value: a player's public id, an operator's account name."""

    kind: ActorKind
    name: str


class Origin(msgspec.Struct, frozen=True):
    """Where an action came from. `request_id` is also the correlation id that error pages show."""

    request_id: str = ""
    ip: str = ""
    user_agent_hash: str = ""
    causation_id: str = ""
