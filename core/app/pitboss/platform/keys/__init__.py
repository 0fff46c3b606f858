"""Key services behind one port: files of this machine, the transit engine of Vault or OpenBao, AWS KMS."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pitboss.platform.keys.service import KeyService
from pitboss.platform.settings import Settings, SettingsInvalid, variable

FORMS: Final = "file:<folder>, vault:<http(s) address>/<mount> or aws:<region>"


def open_key_service(settings: Settings) -> KeyService:
    """Return the key service that the settings name; raise `SettingsInvalid`. Whoever opens it closes it."""
    kind, _, place = settings.key_service.partition(":")
    name = variable("key_service")
    # Adapters are imported when they are chosen: AWS's SDK alone takes longer to load than the rest of a command.
    if kind == "file" and place:
        if settings.environment == "production":
            raise SettingsInvalid(f"{name}: keys in files are for the demo, refused in production")
        from pitboss.platform.keys.local import LocalKeyService  # noqa: PLC0415

        return LocalKeyService(Path(place))
    if kind == "vault" and urlsplit(place).path.strip("/"):
        if settings.key_service_token is None:
            raise SettingsInvalid(f"{variable('key_service_token')}: this key service needs it and it is not set")
        from pitboss.platform.keys.vault import VaultKeyService  # noqa: PLC0415

        address = urlsplit(place)
        return VaultKeyService(
            f"{address.scheme}://{address.netloc}", settings.key_service_token, address.path.strip("/")
        )
    if kind == "aws" and place:
        from pitboss.platform.keys.aws import AwsKeyService  # noqa: PLC0415

        return AwsKeyService(place)
    raise SettingsInvalid(f"{name}: must be {FORMS}")
