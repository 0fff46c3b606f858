"""The hooks of plugins: registered at loading, asked one at a time, and not again where one misbehaves."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, get_type_hints

import msgspec
import pluggy
import structlog

from pitboss.kernel.clock import monotonic_seconds
from pitboss_sdk import hookspecs

SLOW_SECONDS: Final = 0.5
"""A hook declares and does not work: far above what any needs, so that a busy machine makes none slow."""

_SHAPES: Final = {"status_facts": get_type_hints(hookspecs.status_facts, include_extras=True)["return"]}
"""What each hook must return."""

_log = structlog.get_logger(__name__)


class Hooks:
    """The hooks of the plugins of a process."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._quarantined: dict[str, str] = {}

    @property
    def quarantined(self) -> Mapping[str, str]:
        """The plugins whose hooks are not asked any more, by slug, with the hook and what it did."""
        return MappingProxyType(self._quarantined)

    def register(self, slug: str, plugin: type[Any]) -> list[str]:
        """Take up the hooks of a plugin that keeps its contract; return what is wrong with them, and then take none."""
        try:
            self._manager.register(plugin, slug)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(slug):
                self._manager.unregister(name=slug)
            return [f"hooks: {str(error).strip().splitlines()[-1]}"]
        return []

    def list_status_facts(self, slug: str, config: msgspec.Struct) -> tuple[hookspecs.StatusFact, ...]:
        """Return what a plugin tells of a tenant's configuration; nothing where it has no such hook or is held."""
        return self._ask(slug, "status_facts", config=config) or ()

    def _ask(self, slug: str, hook: str, **arguments: object) -> Any:
        """Return what one plugin declares through a hook, in the shape of its specification, or None."""
        if slug in self._quarantined:
            return None
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        found = next((each for each in caller.get_hookimpls() if each.plugin_name == slug), None)
        if found is None:
            return None
        began = monotonic_seconds()
        try:
            declared = found.function(*[arguments[name] for name in found.argnames])
            answer = msgspec.convert(msgspec.to_builtins(declared), _SHAPES[hook])
        except (Exception, SystemExit) as error:  # noqa: BLE001 a plugin's fault must not pass; no value is told
            self._hold(slug, f"{hook} raised {type(error).__name__}")
            return None
        if monotonic_seconds() - began > SLOW_SECONDS:
            self._hold(slug, f"{hook} took longer than {SLOW_SECONDS} s")
        return answer

    def _hold(self, slug: str, problem: str) -> None:
        self._quarantined[slug] = problem
        _log.warning("plugin.hooks_held", plugin=slug, problem=problem)
