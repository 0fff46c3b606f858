"""The secret store: its file's mode and owner, its contents, and what errors never tell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pitboss.platform.secrets import SecretStore, SecretsUnavailable


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_values_are_given_by_name(tmp_path: Path) -> None:
    store = SecretStore(write(tmp_path / "s.toml", 'a = "1"\nb = "2"\n[table]\nc = "3"\n'))
    assert store.resolve(["b", "a", "b"]) == {"a": "1", "b": "2"}
    assert store.resolve([]) == {}


def test_a_replaced_secret_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "s.toml", 'a = "1"\n')
    store = SecretStore(path)
    assert store.resolve(["a"]) == {"a": "1"}
    write(path, 'a = "2"\n')
    assert store.resolve(["a"]) == {"a": "2"}


def test_every_missing_name_is_told_and_no_value(tmp_path: Path) -> None:
    store = SecretStore(write(tmp_path / "s.toml", 'a = "canary"\nempty = ""\nnumber = 1\n'))
    with pytest.raises(SecretsUnavailable, match="no value for empty, gone, number") as caught:
        store.resolve(["a", "gone", "empty", "number"])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o660])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    store = SecretStore(write(tmp_path / "s.toml", 'a = "1"\n', mode))
    with pytest.raises(SecretsUnavailable, match="set its mode to 0600"):
        store.resolve(["a"])


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = write(tmp_path / "s.toml", 'a = "1"\n')
    os.chown(path, 4242, 4242)
    with pytest.raises(SecretsUnavailable, match="belongs to another user"):
        SecretStore(path).resolve(["a"])


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    for store, reason in (
        (SecretStore(None), "PITBOSS_SECRETS_FILE is not set"),
        (SecretStore(tmp_path / "none"), "No such file"),
        (SecretStore(tmp_path), "Is a directory"),
        (SecretStore(write(tmp_path / "bad.toml", 'a = "canary')), "is not TOML"),
    ):
        with pytest.raises(SecretsUnavailable, match=reason) as caught:
            store.resolve(["a"])
        assert "canary" not in str(caught.value)
