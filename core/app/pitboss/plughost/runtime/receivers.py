"""The receivers of webhooks of a process: configured for a tenant, made anew when that changes, and guarded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, cast

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import monotonic_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.plughost import store
from pitboss.plughost.contracts import Circuit, Enablement, LoadedPlugin, Verdict, Webhook
from pitboss.plughost.errors import (
    ReceiverHeld,
    ReceiverUnavailable,
    WebhookForged,
    WebhookNotForUs,
    WebhooksNotTaken,
    WebhookStale,
)
from pitboss.plughost.rules import decide_admission, decide_circuit, decide_fresh, is_storable
from pitboss.plughost.service import Secrets, build_plugin
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.events import EVENTS, name_event
from pitboss_sdk.manifest import Manifest
from pitboss_sdk.webhooks import Accepted, Forged, NotForUs, RawWebhook, Untranslatable, WebhookReceiver

LOOK_SECONDS: Final = 2
"""How soon a plugin that is enabled, configured or switched off shows, and how often strangers make us look."""
TRANSLATE_SECONDS: Final = 5
TRANSLATE_THREADS: Final = 8
"""As many as a worker's jobs, and more than the attempts of one event: it cannot take them all before it is parked."""
MAX_REASON: Final = 200

_LOG: Final = structlog.get_logger(__name__)


class GuardedReceiver:
    """A tenant's receiver as the rest of the house calls it: it raises errors of ours alone.

    Only a translation can have it held back: whoever likes may call `verify`, and must not be able to.
    """

    def __init__(self, tenant: str, manifest: Manifest, instance: WebhookReceiver) -> None:
        self._tenant = tenant
        self._manifest = manifest
        self._instance = instance
        self._kinds: Any = EVENTS[manifest.kind]
        self._circuit = Circuit()
        # Its own: in the process's, translations that do not end would take the place of other tenants' and plugins'.
        self._threads = ThreadPoolExecutor(TRANSLATE_THREADS, "webhook")

    def verify(self, raw: RawWebhook) -> Webhook:
        """Return a webhook that is the vendor's, for this tenant and fresh, with the headers that are kept.

        Raises `WebhookForged`, `WebhookNotForUs`, `WebhookStale` or, where the plugin fails, `ReceiverUnavailable`.
        """
        try:
            verdict: object = self._instance.verify_webhook(raw)
        except (Exception, SystemExit) as error:  # noqa: BLE001 what a plugin raises may hold what a stranger sent
            raise self._fail("verify_webhook", type(error).__name__) from None
        if isinstance(verdict, Forged):
            raise WebhookForged(_clean(verdict.reason))
        if isinstance(verdict, NotForUs):
            raise WebhookNotForUs(_clean(verdict.reason))
        accepted = _convert(verdict)
        if accepted is None:
            raise self._fail("verify_webhook", "an answer that is none")
        stale = decide_fresh(accepted, raw.received_at_us, self._manifest.webhooks.skew_seconds)
        if stale:
            raise WebhookStale(stale)
        kept = {name: value for name, value in raw.headers.items() if name in self._instance.webhook_headers}
        return Webhook(self._manifest.slug, msgspec.structs.replace(raw, headers=kept), accepted)

    async def translate(self, raw: RawWebhook) -> tuple[Any, ...]:
        """Return the events of a webhook; raise `Untranslatable`, or `ReceiverUnavailable` for every other failure.

        A translation that does not end keeps its thread, one of the few of this receiver.
        """
        held = decide_admission(self._circuit, monotonic_seconds())
        if held:
            raise ReceiverHeld(held)
        self._circuit = msgspec.structs.replace(self._circuit, on_trial=self._circuit.is_paused)
        try:
            async with asyncio.timeout(TRANSLATE_SECONDS):
                running = asyncio.get_running_loop().run_in_executor(self._threads, _call, self._instance, raw)
                events = self._demand_events(await running)
        except asyncio.CancelledError:  # it says nothing about the plugin, and the next call may try
            self._circuit = msgspec.structs.replace(self._circuit, on_trial=False)
            raise
        except Untranslatable as error:
            self._note(Verdict.SUCCESS)
            raise Untranslatable(_clean(error.detail)) from None
        except ReceiverUnavailable:
            self._note(Verdict.FAULT)
            raise
        except Exception as error:  # noqa: BLE001 whatever a plugin raises
            self._note(Verdict.FAULT)
            told = "no end in time" if isinstance(error, TimeoutError) else type(error).__name__
            raise self._fail("translate_webhook", told) from None
        self._note(Verdict.SUCCESS)
        return events

    def _note(self, verdict: Verdict) -> None:
        self._circuit = decide_circuit(self._circuit, verdict, monotonic_seconds())

    def _demand_events(self, events: object) -> tuple[Any, ...]:
        """Return what a translation gave, checked: constructors of structs check nothing."""
        if not isinstance(events, tuple):
            raise self._fail("translate_webhook", "an answer that is none")
        checked: list[Any] = []
        for event in cast("tuple[object, ...]", events):
            name = name_event(event)
            if name not in self._manifest.events:
                raise self._fail("translate_webhook", "an event that the manifest does not list")
            try:
                checked.append(msgspec.convert(msgspec.to_builtins(event), self._kinds[name]))
            except (msgspec.ValidationError, TypeError, ValueError):
                raise self._fail("translate_webhook", "an event that is not what it is called") from None
        return tuple(checked)

    def _fail(self, action: str, problem: str) -> ReceiverUnavailable:
        _LOG.error(
            "webhook.receiver_failed",
            tenant=self._tenant,
            plugin=self._manifest.slug,
            action=action,
            problem=problem,
        )
        return ReceiverUnavailable(f"{action}: {problem}")


class _Made(NamedTuple):
    """A receiver and what it was made of; without one, `problem` says why."""

    enabled: Enablement | None
    version: object
    receiver: GuardedReceiver | None
    looked_at: float
    refusal: type[PitbossError]
    problem: str


class Receivers:
    """The receivers of a process. One is made anew when its configuration or a secret changes, and begins healthy."""

    def __init__(self, plugins: Mapping[str, LoadedPlugin], secrets: Secrets) -> None:
        self._plugins = {slug: plugin for slug, plugin in plugins.items() if plugin.manifest.webhooks.mode == "signed"}
        self._secrets = secrets
        self._made: dict[tuple[int, str], _Made] = {}

    def find_fresh(self, scope: TenantScope, slug: str) -> GuardedReceiver | None:
        """Return a receiver that was looked for a moment ago, None when it has to be looked for.

        Raises `WebhooksNotTaken`, or why it could not be made.
        """
        if slug not in self._plugins:
            raise WebhooksNotTaken(f"no plugin {slug!r} here takes webhooks")
        known = self._made.get((scope.tenant_id, slug))
        if known is None or monotonic_seconds() - known.looked_at > LOOK_SECONDS:
            return None
        return _demand(known)

    async def get(self, session: AsyncSession, scope: TenantScope, slug: str) -> GuardedReceiver:
        """Return the tenant's receiver of a plugin as it is configured now; raise as `find_fresh` does."""
        plugin = self._plugins.get(slug)
        if plugin is None:
            raise WebhooksNotTaken(f"no plugin {slug!r} here takes webhooks")
        enabled = await store.find_enablement(session, scope.tenant_id, slug)
        # Asked before the values, so that what is written meanwhile is seen the next time.
        version = self._secrets.get_version()
        made = self._make(scope, plugin, enabled, version, self._made.get((scope.tenant_id, slug)))
        self._made[scope.tenant_id, slug] = made
        return _demand(made)

    def _make(
        self, scope: TenantScope, plugin: LoadedPlugin, enabled: Enablement | None, version: object, known: _Made | None
    ) -> _Made:
        now = monotonic_seconds()
        if enabled is None or not enabled.enabled:
            return _Made(enabled, version, None, now, WebhooksNotTaken, f"plugin {plugin.slug!r} is not enabled")
        if known is not None and known.receiver is not None and known.enabled == enabled and known.version == version:
            return known._replace(looked_at=now)
        try:
            instance: Any = build_plugin(plugin, enabled, self._secrets)
        except Exception as error:  # noqa: BLE001 a plugin's own fault, or secrets that cannot be read, end nothing
            _LOG.error(
                "webhook.receiver_not_made", tenant=scope.slug, plugin=plugin.slug, error_type=type(error).__name__
            )
            if known is not None and known.receiver is not None and known.enabled == enabled:
                return known._replace(looked_at=now)  # as long as nothing better can be made
            return _Made(enabled, version, None, now, ReceiverUnavailable, "the plugin cannot be made ready")
        receiver = GuardedReceiver(scope.slug, plugin.manifest, instance)
        return _Made(enabled, version, receiver, now, ReceiverUnavailable, "")


def _demand(made: _Made) -> GuardedReceiver:
    if made.receiver is None:
        raise made.refusal(made.problem)
    return made.receiver


def _call(instance: WebhookReceiver, raw: RawWebhook) -> object:
    try:
        return instance.translate_webhook(raw)
    except SystemExit as error:  # it would end the process, from whatever thread
        raise RuntimeError("SystemExit") from error


def _convert(verdict: object) -> Accepted | None:
    if not isinstance(verdict, Accepted):
        return None
    try:
        accepted = msgspec.convert(msgspec.to_builtins(verdict), Accepted)
    except (msgspec.ValidationError, TypeError, ValueError):
        return None
    return accepted if is_storable(accepted) else None


def _clean(text: object) -> str:
    """Return a plugin's text without what cannot be printed."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text)[:MAX_REASON])
