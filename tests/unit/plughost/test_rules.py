"""The pure half of the gates: contract, configuration, differences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pitboss.audit.contracts import Change
from pitboss.plughost.contracts import Enablement, LoadedPlugin
from pitboss.plughost.errors import FileInvalid, LocalityRefused
from pitboss.plughost.rules import (
    compute_changes,
    decode_config,
    decode_manifest,
    decode_table,
    demand_locality,
)
from pitboss_sdk.contract import find_contract_faults
from pitboss_sdk.games import DialectResponse, Refusal
from pitboss_sdk.manifest import Manifest
from pitboss_sdk.secrets import SecretRef, list_secrets


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: SecretRef


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway_url: str
    api_secret: SecretRef
    tokens: list[Token] = []
    by_name: dict[str, SecretRef] = {}
    retries: int = 3


class Good:
    Config = Config
    operations = frozenset({"bet", "win"})
    max_body_bytes = 1024
    answer_within_ms = 1000

    def verify(self, call: Any) -> None: ...
    def parse(self, call: Any) -> None: ...
    def render(self, call: Any, answer: Any) -> None: ...

    @classmethod
    def render_refusal(cls, refusal: Refusal, detail: str = "") -> DialectResponse:  # noqa: ARG003 the signature is given
        return DialectResponse(400, b"{}")

    async def list_games(self, http: Any) -> None: ...
    async def launch(self, http: Any, request: Any) -> None: ...


@pytest.fixture
def manifest(manifest_text: str) -> Manifest:
    return decode_manifest("manifest.toml", manifest_text)


def test_a_driver_that_keeps_the_contract_has_no_faults(manifest: Manifest) -> None:
    assert find_contract_faults(Good, manifest) == []


class Lax(msgspec.Struct):
    gateway_url: str


class Elsewhere(msgspec.Struct, forbid_unknown_fields=True):
    address: str


def refusing(answer: Any) -> classmethod[Any, Any, Any]:
    def render_refusal(_cls: type, refusal: Refusal, _detail: str = "") -> Any:
        return answer(refusal)

    return classmethod(render_refusal)


def fail(_refusal: Refusal) -> Any:
    raise KeyError("limit_reached")


async def late(_self: Any, _call: Any) -> None: ...
def narrow(_self: Any) -> None: ...
def plain(_self: Any, _http: Any) -> None: ...


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"Config": dict}, "Config is not a msgspec.Struct"),
        ({"Config": Lax}, "Config accepts unknown fields"),
        ({"Config": Elsewhere}, "egress names the configuration field 'gateway_url'"),
        ({"operations": {"bet", "win"}}, "operations is not a frozenset"),
        ({"operations": frozenset({"bet"})}, "operations are ['bet'], but the manifest declares ['bet', 'win']"),
        ({"operations": frozenset({"bet", "win", "tip"})}, "operations are ['bet', 'tip', 'win']"),
        ({"max_body_bytes": 0}, "max_body_bytes is not"),
        ({"max_body_bytes": 2**30}, "max_body_bytes is not"),
        ({"max_body_bytes": True}, "max_body_bytes is not"),
        ({"answer_within_ms": "1000"}, "answer_within_ms is not"),
        ({"verify": None}, "verify is missing"),
        ({"verify": late}, "verify must not be asynchronous"),
        ({"parse": narrow}, "parse cannot be called with (self, call)"),
        ({"list_games": plain}, "list_games must be asynchronous"),
        ({"render_refusal": plain}, "render_refusal must be a class method"),
        ({"render_refusal": refusing(fail)}, "render_refusal(insufficient_funds) raises KeyError"),
        ({"render_refusal": refusing(lambda _: (400, b""))}, "render_refusal(insufficient_funds) is not an answer"),
        ({"render_refusal": refusing(lambda _: DialectResponse(7, b""))}, "is not an answer"),
    ],
)
def test_each_breach_of_the_contract_is_named(manifest: Manifest, changes: dict[str, Any], fault: str) -> None:
    faults = find_contract_faults(type("Bad", (Good,), changes), manifest)
    assert any(fault in found for found in faults), faults


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("manifest_version = 1", "manifest_version = 2", "manifest_version: this host reads version 1"),
        ("config_version = 1", "config_version = 0", "config_version: counts from 1"),
        ('["eu", "br"]', "[]", "processing_localities: is empty"),
        ('"api.example.com"', '"https://api.example.com"', "egress: 'https://api.example.com' is neither"),
        ('mode = "none"', 'mode = "trust_me"', "webhooks.mode: Invalid enum value"),
        ('mode = "none"', 'mode = "signed"\nskew_seconds = -1', "webhooks.skew_seconds: is not from 0 to 3600"),
        ('mode = "none"', 'mode = "none"\nsecret = "x"', "webhooks.secret: is not a key here"),
        ('sdk = ">=0.1,<0.2"', 'sdk = "latest"', "sdk: 'latest' is not a PEP 440 specifier"),
        ('["bet", "win"]', "[]", "capability.operations: is empty"),
        ('["bet", "win"]', '["bet/../x"]', "capability.operations: 'bet/../x' cannot be a part of an address"),
        ("jackpots = false", "jackpots = 0", "capability.jackpots: Expected `bool`, got `int`"),
        ("jackpots = false", "", "capability.jackpots: is missing"),
        ("jackpots = false", "jackpots = false\ntips = true", "capability.tips: is not a key here"),
        ('slug = "made"', 'slug = "Made!"', "slug: Expected `str` matching regex"),
        ('"player_id"', '"passport"', "pii[0]: Invalid enum value 'passport'"),
    ],
)
def test_a_faulty_manifest_names_key_and_reason(manifest_text: str, old: str, new: str, fault: str) -> None:
    assert old in manifest_text
    with pytest.raises(FileInvalid) as caught:
        decode_manifest("manifest.toml", manifest_text.replace(old, new))
    assert caught.value.detail.startswith("manifest.toml: ")
    assert fault in caught.value.detail


SECRET_HINT = 'is a secret: write { secret = "name" } here, and the value under that name into the cell\'s store'


def test_a_configuration_error_names_file_key_and_reason(plugin: LoadedPlugin) -> None:
    table = {"gateway_url": "https://g", "api_secret": {"secret": "a"}}
    for change, fault in (
        ({"api_secret": "hunter2"}, f"api_secret: {SECRET_HINT}"),
        ({"api_secret": {"secret": "a", "value": "b"}}, "api_secret.value: is not a key here"),
        ({"tokens": [{"token": {"secret": "a"}}, {}]}, "tokens[1].token: is missing"),
        ({"retires": 3}, "retires: is not a key here; known are gateway_url, api_secret, tokens, by_name, retries"),
    ):
        with pytest.raises(FileInvalid) as caught:
            decode_config(plugin, {**table, **change}, "plugins/made.toml")
        assert caught.value.detail == f"plugins/made.toml: {fault}"
        assert "hunter2" not in caught.value.detail


def test_secrets_are_found_wherever_they_stand() -> None:
    config = Config("u", SecretRef("b"), [Token(SecretRef("a")), Token(SecretRef("b"))], {"x": SecretRef("c")})
    assert list_secrets(config) == ("a", "b", "c")


def test_a_vendor_serves_the_localities_that_its_manifest_names(manifest: Manifest) -> None:
    demand_locality(manifest, "eu")
    with pytest.raises(LocalityRefused, match="processes in eu, br, not in gb"):
        demand_locality(manifest, "gb")
    demand_locality(msgspec.structs.replace(manifest, processing_localities=("*",)), "gb")


def test_changes_are_told_by_path_and_only_where_there_are_some(plugin: LoadedPlugin) -> None:
    table: dict[str, Any] = {"gateway_url": "https://g", "api_secret": {"secret": "a"}, "list": [1, "b"]}
    first = compute_changes(None, plugin, table)
    assert {change.path for change in first} == {
        "enabled",
        "distribution",
        "version",
        "config_version",
        "config.gateway_url",
        "config.api_secret.secret",
        "config.list",
    }
    before = Enablement("made", "games", "made", "1.0", table, 1, True, datetime(2026, 1, 1, tzinfo=UTC))
    assert compute_changes(before, plugin, table) == ()
    changed = {"gateway_url": "https://h", "list": [1, "b"]}
    assert compute_changes(before, plugin, changed) == (
        Change("config.gateway_url", "https://g", "https://h"),
        Change("config.api_secret.secret", "a", None),
    )
    off = msgspec.structs.replace(before, enabled=False)
    assert compute_changes(off, plugin, table) == (Change("enabled", before=False, after=True),)


@pytest.fixture
def plugin(manifest: Manifest) -> LoadedPlugin:
    return LoadedPlugin(manifest, "made", "1.0", Good)


class Configured(msgspec.Struct, forbid_unknown_fields=True):
    """As a plugin's configuration."""

    casino_id: str
    api_secret: SecretRef
    previous_api_secret: SecretRef | None = None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            {"casino": "x"},
            "aurora/plugins/x.toml: casino: is not a key here; known are casino_id, api_secret, previous",
        ),
        ({"casino_id": "x"}, "aurora/plugins/x.toml: api_secret: is missing"),
        ({"casino_id": "x", "api_secret": "hunter2"}, "aurora/plugins/x.toml: api_secret: is a secret: write { secret"),
        (
            {"casino_id": "x", "api_secret": {"secret": "a"}, "previous_api_secret": "b"},
            "aurora/plugins/x.toml: previous_api_secret: is a secret: write { secret",
        ),
        (
            {"casino_id": "x", "api_secret": {"secert": "a"}},
            "aurora/plugins/x.toml: api_secret.secert: is not a key here",
        ),
    ],
)
def test_a_wrong_configuration_says_what_to_write(table: dict[str, Any], told: str) -> None:
    with pytest.raises(FileInvalid) as refused:
        decode_table("aurora/plugins/x.toml", table, Configured)
    assert refused.value.detail.startswith(told)
