"""What a tenant configures: who it is at the aggregator, where the aggregator is, and which secret signs."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pitboss_sdk.secrets import SecretRef

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SoftswissConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tenant's `plugins/softswiss.toml`.

    `casino_id` is the operator's slug at the aggregator. `previous_api_secret` is set while a secret is being
    replaced: calls signed with either are accepted, our own are signed with `api_secret`. `notice_secret` is shared with
    whoever posts notices about games (`pitboss_sdk.notices`); without one, none is believed.
    """

    casino_id: Annotated[str, Meta(min_length=1, max_length=64)]
    gateway_url: str
    api_secret: SecretRef
    previous_api_secret: SecretRef | None = None
    notice_secret: SecretRef | None = None
    previous_notice_secret: SecretRef | None = None
    deposit_url: str = ""

    def __post_init__(self) -> None:
        """Refuse addresses over which a signed launch would travel in the clear."""
        if not is_safe_url(self.gateway_url):
            raise ValueError("gateway_url must be an https address (http only on loopback)")
        if urlsplit(self.gateway_url).query or urlsplit(self.gateway_url).fragment:
            raise ValueError("gateway_url must have no query and no fragment")
        if self.deposit_url and not is_safe_url(self.deposit_url):
            raise ValueError("deposit_url must be an https address (http only on loopback)")


def is_safe_url(url: str) -> bool:
    """Say whether `url` is absolute, without credentials, and https, or http to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not url.isascii() or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (host in _LOOPBACK or host.endswith(".localhost")))
