"""Settings: strict about names and values, exact about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pitboss.platform.settings import (
    ContextKey,
    Settings,
    SettingsInvalid,
    child_environ,
    list_settings,
    load_settings,
    require,
    require_all,
)

KEY = "ab" * 32


def test_defaults_are_what_the_table_says() -> None:
    settings = load_settings({})
    assert settings == Settings()
    for row in list_settings():
        value = getattr(settings, row.field)
        assert row.default == ("" if value in (None, ()) else str(value)), row.variable


def test_values_arrive_in_their_types() -> None:
    settings = load_settings(
        {
            "PITBOSS_PORT": "9000",
            "PITBOSS_STATE_DIR": "somewhere",
            "PITBOSS_CONTEXT_KEYS": f"new1:{KEY}, old1:{KEY}cd",
            "OTHER": "ignored",
        }
    )
    assert settings.port == 9000
    assert settings.state_dir == Path("somewhere")
    assert settings.context_keys == (
        ContextKey("new1", bytes.fromhex(KEY)),
        ContextKey("old1", bytes.fromhex(KEY + "cd")),
    )
    assert settings.given == {"port", "state_dir", "context_keys"}


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PITBOSS_PROT", "1", "no such setting"),
        ("PITBOSS_GIVEN", "port", "no such setting"),
        ("PITBOSS_PORT", "", "is empty"),
        ("PITBOSS_PORT", "0", "must be a port"),
        ("PITBOSS_PORT", "65536", "must be a port"),
        ("PITBOSS_PORT", "-1", "whole number"),
        ("PITBOSS_PORT", "8_080", "whole number"),
        ("PITBOSS_PORT", "٣", "whole number"),
        ("PITBOSS_PLANE", "edge", "must be one of control, cell, all"),
        ("PITBOSS_CELL", "EU 1", "lower-case"),
        ("PITBOSS_LANES", "0", "1 to 16"),
        ("PITBOSS_CELL_DATABASE_URL", "mysql://x", "postgresql://"),
        ("PITBOSS_REDIS_URL", "http://x", "redis://"),
        ("PITBOSS_OPERATOR_TOKEN", "short", "16 characters"),
        ("PITBOSS_CONTEXT_KEYS", KEY, "id:hex"),
        ("PITBOSS_CONTEXT_KEYS", f"K:{KEY}", "a-z and 0-9"),
        ("PITBOSS_CONTEXT_KEYS", "k1:zz", "not hexadecimal"),
        ("PITBOSS_CONTEXT_KEYS", "k1:abcd", "32 to 64 bytes"),
        ("PITBOSS_CONTEXT_KEYS", f"k1:{KEY},k1:{KEY}", "twice"),
        ("PITBOSS_DIRECTORY_SIGNING_KEY", f"k1:{KEY},k2:{KEY}", "one key"),
        ("PITBOSS_DIRECTORY_PUBLIC_KEYS", f"k1:{KEY}00", "32 bytes"),
    ],
)
def test_fault_names_variable_and_reason(variable: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings({variable: value})
    assert caught.value.detail.startswith(f"{variable}: ")
    assert reason in caught.value.detail


def test_all_faults_at_once_and_no_secret_in_them() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings({"PITBOSS_PORT": "x", "PITBOSS_CONTEXT_KEYS": f"k1:{KEY}zz", "PITBOSS_NONE": "1"})
    for variable in ("PITBOSS_PORT", "PITBOSS_CONTEXT_KEYS", "PITBOSS_NONE"):
        assert variable in caught.value.detail
    assert KEY not in caught.value.detail


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PITBOSS_OPERATOR_TOKEN", "demo-0123456789abcdef"),
        ("PITBOSS_CONTEXT_KEYS", f"k1:{KEY},demo1:{KEY}"),
        ("PITBOSS_CELL_DATABASE_URL", "postgresql://pitboss_app:demo-1@localhost/x"),
        ("PITBOSS_REDIS_URL", "redis://:demo-1@localhost/0"),
    ],
)
def test_production_refuses_what_the_demo_made(variable: str, value: str) -> None:
    load_settings({variable: value})
    with pytest.raises(SettingsInvalid, match=f"{variable}: made for the demo"):
        load_settings({variable: value, "PITBOSS_ENVIRONMENT": "production"})


def test_require_names_what_is_missing() -> None:
    with pytest.raises(SettingsInvalid, match="PITBOSS_REDIS_URL"):
        require(Settings(), "redis_url")
    assert require(Settings(redis_url="redis://x"), "redis_url") == "redis://x"


def test_child_gets_only_the_settings_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PITBOSS_REDIS_URL", "redis://secret")
    monkeypatch.setenv("HOME_OF_TEST", "kept")
    environ = child_environ({"PITBOSS_PORT": "1"})
    assert {name for name in environ if name.startswith("PITBOSS_")} == {"PITBOSS_PORT"}
    assert environ["HOME_OF_TEST"] == "kept"


def test_all_that_is_missing_is_named_at_once() -> None:
    settings = load_settings({"PITBOSS_REDIS_URL": "redis://127.0.0.1"})
    with pytest.raises(SettingsInvalid) as raised:
        require_all(settings, "cell_database_url", "redis_url", "context_keys")
    assert raised.value.detail == (
        "PITBOSS_CELL_DATABASE_URL: this process needs it and it is not set;"
        " PITBOSS_CONTEXT_KEYS: this process needs it and it is not set"
    )
    require_all(settings, "redis_url")
