"""Write-once storage behind one port: a folder of this machine, or a bucket with S3 Object Lock."""

from __future__ import annotations

from pathlib import Path

from pitboss.platform.settings import Settings, SettingsInvalid, variable
from pitboss.platform.worm.port import WormStore


def open_worm_store(settings: Settings) -> WormStore:
    """Return the store that the settings name; raise `SettingsInvalid`. Whoever opens it closes it."""
    kind, _, place = settings.worm_store.partition(":")
    if kind == "file":
        if settings.environment == "production":
            name = variable("worm_store")
            raise SettingsInvalid(f"{name}: a folder keeps nothing from its owner, refused in production")
        from pitboss.platform.worm.local import LocalWormStore  # noqa: PLC0415 - loaded when chosen

        return LocalWormStore(Path(place))
    from pitboss.platform.worm.s3 import S3WormStore  # noqa: PLC0415 - AWS's SDK takes long to load

    bucket, _, region = place.partition("@")
    return S3WormStore(bucket, region)
