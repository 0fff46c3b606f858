"""Which key service and which write-once store a process gets follows from its settings alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pitboss.platform.keys import open_key_service
from pitboss.platform.keys.aws import AwsKeyService
from pitboss.platform.keys.local import LocalKeyService
from pitboss.platform.keys.vault import VaultKeyService
from pitboss.platform.settings import SettingsInvalid, load_settings
from pitboss.platform.worm import open_worm_store
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.s3 import S3WormStore

TOKEN = {"PITBOSS_KEY_SERVICE_TOKEN": "s.token"}


async def test_each_form_of_the_setting_has_its_service(tmp_path: Path) -> None:
    for value, more, kind in (
        (f"file:{tmp_path / 'keys'}", {}, LocalKeyService),
        ("vault:https://vault.example:8200/transit", TOKEN, VaultKeyService),
        ("aws:eu-central-1", {}, AwsKeyService),
    ):
        service = open_key_service(load_settings({"PITBOSS_KEY_SERVICE": value, **more}))
        assert isinstance(service, kind)
        await service.close()


async def test_each_form_of_the_setting_has_its_store(tmp_path: Path) -> None:
    for value, kind in ((f"file:{tmp_path / 'worm'}", LocalWormStore), ("s3:evidence-eu@eu-central-1", S3WormStore)):
        store = open_worm_store(load_settings({"PITBOSS_WORM_STORE": value}))
        assert isinstance(store, kind)
        await store.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PITBOSS_KEY_SERVICE", "files"),
        ("PITBOSS_KEY_SERVICE", "file:"),
        ("PITBOSS_KEY_SERVICE", "vault:https://vault.example"),
        ("PITBOSS_KEY_SERVICE", "vault:https://user:word@vault.example/transit"),
        ("PITBOSS_KEY_SERVICE", "aws:"),
        ("PITBOSS_WORM_STORE", "s3:bucket"),
        ("PITBOSS_WORM_STORE", "file:"),
        ("PITBOSS_WORM_STORE", "ftp:x"),
    ],
)
def test_another_form_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        load_settings({name: value})


def test_an_engine_without_its_token_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="PITBOSS_KEY_SERVICE_TOKEN"):
        open_key_service(load_settings({"PITBOSS_KEY_SERVICE": "vault:https://vault.example:8200/transit"}))


def test_production_keeps_neither_keys_nor_evidence_in_files(tmp_path: Path) -> None:
    production = {"PITBOSS_ENVIRONMENT": "production"}
    with pytest.raises(SettingsInvalid, match="PITBOSS_KEY_SERVICE"):
        open_key_service(load_settings({**production, "PITBOSS_KEY_SERVICE": f"file:{tmp_path / 'a'}"}))
    with pytest.raises(SettingsInvalid, match="PITBOSS_WORM_STORE"):
        open_worm_store(load_settings({**production, "PITBOSS_WORM_STORE": f"file:{tmp_path / 'b'}"}))
    assert not list(tmp_path.iterdir())
