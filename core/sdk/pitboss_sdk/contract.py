"""What a plugin of kind `games` must look like before it is built: its class held against its manifest."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from pitboss_sdk import hookspecs
from pitboss_sdk.games import DialectResponse, GamesPlugin, Refusal, TransactionLister
from pitboss_sdk.manifest import GamesCapability, Manifest
from pitboss_sdk.webhooks import NEVER_STORED, WebhookReceiver

MAX_BODY_BYTES: Final = 1024 * 1024
"""Highest `max_body_bytes` that a dialect may ask for."""

GAMES_METHODS: Final = {
    "verify": False,
    "parse": False,
    "render": False,
    "render_refusal": False,
    "list_games": True,
    "launch": True,
}
"""Methods of a plugin of kind `games`, and whether they are asynchronous."""


WEBHOOK_MEMBERS: Final = ("verify_webhook", "translate_webhook", "webhook_headers")
"""What a class has exactly when its manifest says that webhooks are signed."""


def find_contract_faults(driver: object, manifest: Manifest) -> list[str]:
    """Return where the loaded object disagrees with the contract of its kind or with its manifest."""
    if not isinstance(driver, type):
        return ["the entry point does not name a class"]
    faults = [*_config_faults(driver, manifest), *_attribute_faults(driver, manifest)]
    for method, asynchronous in GAMES_METHODS.items():
        faults += _method_faults(driver, method, asynchronous=asynchronous)
    faults += _list_faults(driver, manifest)
    faults += _webhook_faults(driver, manifest)
    for name in dir(driver):
        faults += _hook_faults(driver, name)
    if not faults:
        faults += _refusal_faults(driver)
    return faults


def _config_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    config = getattr(driver, "Config", None)
    if not (isinstance(config, type) and issubclass(config, msgspec.Struct)):
        yield "Config is not a msgspec.Struct"
        return
    if "config_version" in config.__struct_fields__:
        yield "Config has a field config_version, which the host reads itself"
    yield from _migration_faults(driver, manifest)
    if not config.__struct_config__.forbid_unknown_fields:
        yield "Config accepts unknown fields: a misspelt key would be ignored (forbid_unknown_fields=True)"
    for host in manifest.egress:
        field = host.removeprefix("config:")
        if field != host and field not in config.__struct_fields__:
            yield f"egress names the configuration field {field!r}, which Config does not have"


def _migration_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    found: object = inspect.getattr_static(driver, "migrate_config", None)
    if manifest.config_version == 1:
        if found is not None:
            yield "migrate_config is there, but config_version is 1"
        return
    if not isinstance(found, (classmethod, staticmethod)) or inspect.iscoroutinefunction(driver.migrate_config):
        yield f"config_version is {manifest.config_version}: migrate_config must be a class method, not asynchronous"


def _attribute_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    operations = getattr(driver, "operations", None)
    if not isinstance(operations, frozenset):
        yield "operations is not a frozenset"
    else:
        declared = set(msgspec.convert(manifest.capability, GamesCapability).operations)
        spoken = {str(operation) for operation in cast("frozenset[object]", operations)}
        if spoken != declared:
            yield f"operations are {sorted(spoken)}, but the manifest declares {sorted(declared)}"
    body_bytes, answer_ms = getattr(driver, "max_body_bytes", None), getattr(driver, "answer_within_ms", None)
    if not (type(body_bytes) is int and 0 < body_bytes <= MAX_BODY_BYTES):
        yield f"max_body_bytes is not a whole number from 1 to {MAX_BODY_BYTES}"
    if not (type(answer_ms) is int and answer_ms > 0):
        yield "answer_within_ms is not a positive whole number"


def _list_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    if msgspec.convert(manifest.capability, GamesCapability).transaction_list:
        yield from _method_faults(driver, "list_transactions", asynchronous=True, contract=TransactionLister)
    elif inspect.getattr_static(driver, "list_transactions", None) is not None:
        yield "list_transactions is there, but the manifest does not declare transaction_list"


def _webhook_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    if manifest.webhooks.mode != "signed":
        for name in WEBHOOK_MEMBERS:
            if inspect.getattr_static(driver, name, None) is not None:
                yield f"{name} is there, but the manifest says webhooks.mode {manifest.webhooks.mode!r}"
        return
    for method in ("verify_webhook", "translate_webhook"):
        yield from _method_faults(driver, method, asynchronous=False, contract=WebhookReceiver)
    headers: object = getattr(driver, "webhook_headers", None)
    if not isinstance(headers, frozenset):
        yield "webhook_headers is not a frozenset"
        return
    for header in sorted(str(name) for name in cast("frozenset[object]", headers)):
        if header != header.lower() or not header.isascii() or not header.isprintable():
            yield f"webhook_headers: {header!r} is not a header's name in lower case"
        if header in NEVER_STORED:
            yield f"webhook_headers: {header} is never stored"


def _method_faults(
    driver: type[Any], method: str, *, asynchronous: bool, contract: type[Any] = GamesPlugin
) -> Iterator[str]:
    found: object = inspect.getattr_static(driver, method, None)
    bound = isinstance(found, (classmethod, staticmethod))
    function: object = getattr(driver, method, None) if bound else found
    if not callable(function):
        yield f"{method} is missing"
        return
    if inspect.iscoroutinefunction(function) is not asynchronous:
        yield f"{method} must {'' if asynchronous else 'not '}be asynchronous"
    if method == "render_refusal" and not bound:
        yield "render_refusal must be a class method: it answers before a tenant is known"
        return
    wanted = list(inspect.signature(getattr(contract, method)).parameters)
    try:
        inspect.signature(getattr(driver, method)).bind(*wanted)
    except (TypeError, ValueError) as error:
        yield f"{method} cannot be called with ({', '.join(wanted)}): {error}"


def _hook_faults(driver: type[Any], name: str) -> Iterator[str]:
    found: object = inspect.getattr_static(driver, name, None)
    function: Any = getattr(found, "__func__", found)
    marks: Any = getattr(function, f"{hookspecs.PROJECT}_impl", None)
    if marks is None:
        return
    if not hasattr(getattr(hookspecs, name, None), f"{hookspecs.PROJECT}_spec"):
        yield f"hook {name}: there is no such hook"
    if not isinstance(found, staticmethod):
        yield f"hook {name} is not a static method: it would need an instance, which it does not get"
    waits = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(judge(function) for judge in waits):
        yield f"hook {name} is asynchronous or a generator: hooks declare, they do not wait"
    if marks.get("wrapper") or marks.get("hookwrapper"):
        yield f"hook {name} is a wrapper: no plugin stands around another"


def _refusal_faults(driver: type[Any]) -> Iterator[str]:
    for refusal in Refusal:
        try:
            answer: object = driver.render_refusal(refusal, "detail")
        except Exception as error:  # noqa: BLE001 whatever the plugin raises is its fault and is told
            yield f"render_refusal({refusal.value}) raises {type(error).__name__}: {error}"
            continue
        if not (isinstance(answer, DialectResponse) and type(answer.body) is bytes and 200 <= answer.status < 600):
            yield f"render_refusal({refusal.value}) is not an answer"
