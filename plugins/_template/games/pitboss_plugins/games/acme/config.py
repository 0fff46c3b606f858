"""What a tenant configures."""

from __future__ import annotations

import msgspec

from pitboss_sdk.secrets import SecretRef


class AcmeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tenant's `plugins/acme.toml`."""

    gateway_url: str
    api_secret: SecretRef

    def __post_init__(self) -> None:
        """Refuse an address in the clear."""
        if not self.gateway_url.startswith("https://"):
            raise ValueError("gateway_url must begin with https://")
