"""What passes between the host and any plugin: the HTTP client, and the refusal of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError


class InvalidConfiguration(PitbossError):
    """A tenant's configuration of a plugin cannot work; `detail` names the key, never a secret's value."""

    code = "plugin.invalid_configuration"
    kind = ErrorKind.INVALID


class HttpResponse(msgspec.Struct, frozen=True):
    """The answer of a vendor: status, header names in lower case, whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSent(Exception):
    """No byte of the request left this process."""


class MaybeSent(Exception):
    """The request left, or may have; no whole answer came back."""


class HttpClient(Protocol):
    """The only way out of the process for a plugin. Egress outside the allow-list raises `NotSent`."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_ms: int
    ) -> HttpResponse:
        """Send one request and return the whole answer; raise `NotSent` or `MaybeSent`."""
        ...


class Migrating(Protocol):
    """What the class of a plugin has besides, once its `config_version` is above 1."""

    @classmethod
    def migrate_config(cls, version: int, table: dict[str, Any]) -> dict[str, Any]:
        """Return a tenant's table of the older `version` as one of the present version; no I/O."""
        ...
