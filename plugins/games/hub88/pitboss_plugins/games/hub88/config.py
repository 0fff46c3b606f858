"""What a tenant configures: which of the two aggregators, who it is there, where it is, and the keys of both sides."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pitboss_sdk.secrets import SecretRef

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Flavour = Literal["hub88", "caleta"]


class Hub88Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tenant's `plugins/hub88.toml`.

    `private_key` is ours and signs what we send; `aggregator_public_key` is theirs and verifies what they send.
    `previous_aggregator_public_key` is set while they replace their key: calls signed with either are accepted.
    A key is PEM, or base64 of DER on one line. `lobby_url` is where a game sends a player who leaves it, unless
    the launch says another place. `notice_secret` is shared with whoever posts notices about games
    (`pitboss_sdk.notices`); without one, none is believed.
    """

    flavour: Flavour
    operator_id: Annotated[str, Meta(min_length=1, max_length=64)]
    sub_partner_id: Annotated[str, Meta(max_length=64)] = ""
    gateway_url: str
    lobby_url: str
    deposit_url: str = ""
    private_key: SecretRef
    aggregator_public_key: SecretRef
    previous_aggregator_public_key: SecretRef | None = None
    notice_secret: SecretRef | None = None
    previous_notice_secret: SecretRef | None = None

    def __post_init__(self) -> None:
        """Refuse addresses over which a signed launch would travel in the clear, and names of the wrong form."""
        if not is_safe_url(self.gateway_url):
            raise ValueError("gateway_url must be an https address (http only on loopback)")
        if urlsplit(self.gateway_url).query or urlsplit(self.gateway_url).fragment:
            raise ValueError("gateway_url must have no query and no fragment")
        if not is_safe_url(self.lobby_url):
            raise ValueError("lobby_url must be an https address (http only on loopback)")
        if self.deposit_url and not is_safe_url(self.deposit_url):
            raise ValueError("deposit_url must be an https address (http only on loopback)")
        if self.flavour == "hub88" and not (self.operator_id.isascii() and self.operator_id.isdigit()):
            raise ValueError("operator_id must be a whole number at hub88")
        if self.flavour == "caleta" and not self.sub_partner_id:
            raise ValueError("sub_partner_id must be given at caleta")


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
