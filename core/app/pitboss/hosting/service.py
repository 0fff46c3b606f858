"""Use cases of a cell that takes a tenant in: what it would change, and changing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

import pitboss.accounts.service as accounts
import pitboss.keys.service as keys
import pitboss.ledger.service as ledger
import pitboss.plughost.service as plughost
import pitboss.policy.service as policy
import pitboss.themes.service as themes
from pitboss.audit.contracts import AuditEvent, Category, Change, EventFilter
from pitboss.audit.service import list_events, record_event
from pitboss.directory.contracts import PublicKey
from pitboss.hosting import rules
from pitboss.hosting.contracts import Call, HeldPlugin, HeldTenant, Installed, TenantOrder, Touch
from pitboss.hosting.errors import OrderRefused
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.keys.contracts import EpochStep
from pitboss.keys.service import KeyRing
from pitboss.platform.outbox import enqueue
from pitboss.plughost.contracts import CATALOGUE_JOB, LoadedPack
from pitboss.plughost.service import Secrets
from pitboss.policy.contracts import TenantPolicy
from pitboss.tenancy.contracts import POLICY_FILE, PlanEntry
from pitboss_sdk.errors import PitbossError

_LOOK_BACK_EVENTS: Final = 50
"""How many of a target's events are looked through for who configured it last."""


def accept_call(body: bytes, header: str, keys: Sequence[PublicKey], *, cell: str, now_seconds: int) -> Call:
    """Return the call that control signed for `cell` a moment ago; raise `CallRefused`.

    That it is not used twice is for the caller to see to: `call_id` need be remembered for twice the age.
    """
    return rules.verify_call(body, header, keys, cell=cell, now_seconds=now_seconds)


def demand_place(order: TenantOrder, *, cell: str, locality: str) -> TenantScope:
    """Return the scope of a tenant that may live here; raise `OrderRefused` for one of another cell or zone."""
    if (order.cell, order.locality) != (cell, locality):
        raise OrderRefused(
            f"tenant {order.slug} belongs to cell {order.cell} in {order.locality}, this is {cell} in {locality}"
        )
    return TenantScope(order.tenant_id, order.slug, cell)


def read_policy(order: TenantOrder, host: Installed, moment: datetime) -> tuple[TenantPolicy, dict[str, LoadedPack]]:
    """Return what the tenant tightens, and its packs as this cell has them; raise `OrderRefused` with what is wrong."""
    packs = {slug: host.get_pack(slug) for slug in order.packs}
    read, problems = policy.check_policy(order.policy, packs, moment=moment, file=f"{order.slug}/{POLICY_FILE}")
    if read is None or problems:
        raise OrderRefused("; ".join(map(str, problems)))
    return read, packs


def find_secret_problems(order: TenantOrder, host: Installed, secrets: Secrets) -> list[str]:
    """Return why the order's plugins cannot run here: not loaded, misconfigured, or a secret without a value."""
    problems: list[str] = []
    for slug, table in order.plugins.items():
        file = f"{order.slug}/plugins/{slug}.toml"
        try:
            names = plughost.check_config(host.get_plugin(slug), table, locality=order.locality, file=file)
            secrets.resolve(names)
        except PitbossError as fault:
            problems.append(f"plugin {slug}: {fault.detail}")
    return problems


async def plan_configuration(
    session: AsyncSession, scope: TenantScope, order: TenantOrder, host: Installed, moment: datetime
) -> list[PlanEntry]:
    """Return what `prepare_tenant` would change besides the books."""
    entries: list[PlanEntry] = []
    if not await keys.list_epochs(session, scope):
        entries.append(_entry("keys.epoch", None, 1))
    for slug, table in order.plugins.items():
        changes = await plughost.plan_plugin(session, scope, host.get_plugin(slug), table)
        entries += [_entry(f"plugin.{slug}.{change.path}", change.before, change.after) for change in changes]
    for enabled in await plughost.list_enabled(session, scope):
        if enabled.slug not in order.plugins:
            entries.append(_entry(f"plugin.{enabled.slug}.enabled", before=True, after=False))
    changes = await policy.plan_policy(session, scope, *read_policy(order, host, moment))
    entries += [_entry(f"policy.{change.path}", change.before, change.after) for change in changes]
    changes = await themes.plan_themes(session, scope, order.themes)
    return entries + [_entry(f"theme.{change.path}", change.before, change.after) for change in changes]


def _entry(path: str, before: Any, after: Any) -> PlanEntry:
    return PlanEntry("+" if before is None else "-" if after is None else "~", path, before, after)


async def read_tenant(session: AsyncSession, scope: TenantScope, order: TenantOrder) -> HeldTenant:
    """Return what the cell holds of a tenant's files, and who changed each part last; also plugins of the order."""
    plugins = await plughost.list_enabled(session, scope)
    applied = await policy.find_applied(session, scope)
    slugs = sorted({*order.plugins, *(found.slug for found in plugins)})
    held = await themes.list_themes(session, scope)
    targets = [f"policy:{scope.slug}", *(f"plugin:{slug}" for slug in slugs)]
    targets += [f"theme:{brand}" for brand in sorted(held)]
    touches = [touch for target in targets if (touch := await _find_touch(session, scope, target)) is not None]
    return HeldTenant(
        plugins=tuple(HeldPlugin(each.slug, each.config, each.config_version) for each in plugins),
        policy=policy.describe_applied(applied),
        themes=held,
        touches=tuple(touches),
    )


async def _find_touch(session: AsyncSession, scope: TenantScope, target: str) -> Touch | None:
    """Return the last change of a target's configuration; what a job did to it is none."""
    page = await list_events(session, scope, EventFilter(target=target), page_size=_LOOK_BACK_EVENTS)
    for event in page.items:
        if event.category is Category.CONFIG_CHANGE:
            return Touch(target, event.type, f"{event.actor.kind}:{event.actor.name}", event.occurred_at)
    return None


async def prepare_tenant(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    order: TenantOrder,
    host: Installed,
    moment: datetime,
    *,
    actor: Actor,
    origin: Origin,
) -> None:
    """Give the tenant its keys, open its books and bring plugins, policy and themes to what the order says; safe to repeat.

    Raises `OrderRefused` where players are under a licence that the order drops, whatever was planned before.
    """
    refusals = await find_live_data(session, scope, order)
    if refusals:
        raise OrderRefused("; ".join(refusals))
    if await keys.prepare_tenant(session, scope, ring):
        event = AuditEvent("keys.prepared", actor, origin, "keyring", scope.slug, (Change("epoch", None, 1),))
        await record_event(session, scope, event)
    opened = await open_books(session, scope, order)
    if opened:
        changes = tuple(Change(entry.path, entry.before, entry.after) for entry in opened)
        await record_event(session, scope, AuditEvent("ledger.prepared", actor, origin, "ledger", scope.slug, changes))
    for slug, table in order.plugins.items():
        plugin = host.get_plugin(slug)
        changed = await plughost.enable_plugin(
            session, scope, plugin, table, locality=order.locality, actor=actor, origin=origin
        )
        if changed and plugin.manifest.kind == "games":
            await enqueue(session, scope, CATALOGUE_JOB, {"plugin": slug})
    for enabled in await plughost.list_enabled(session, scope):
        if enabled.slug not in order.plugins:
            await plughost.disable_plugin(session, scope, enabled.slug, actor=actor, origin=origin)
    await policy.apply_policy(session, scope, *read_policy(order, host, moment), actor=actor, origin=origin)
    await themes.apply_themes(session, scope, order.themes, actor=actor, origin=origin)


async def begin_epoch(session: AsyncSession, scope: TenantScope, ring: KeyRing, *, actor: Actor, origin: Origin) -> int:
    """Begin the next epoch of a tenant's keys and return its number; `advance_epoch` does the rest."""
    epoch = await keys.begin_epoch(session, scope, ring)
    changes = (Change("epoch", epoch - 1, epoch),)
    await record_event(session, scope, AuditEvent("keys.epoch_started", actor, origin, "keyring", scope.slug, changes))
    return epoch


async def advance_epoch(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, *, actor: Actor, origin: Origin
) -> EpochStep:
    """Do the next piece of a change of epoch that has begun; call it until it is done, each time in a new transaction."""
    step = await keys.advance_epoch(session, scope, ring)
    for event_type, epochs in (("keys.epochs_retired", step.retired), ("keys.epochs_destroyed", step.destroyed)):
        if epochs:
            changes = (Change("epochs", None, [str(epoch) for epoch in epochs]),)
            await record_event(session, scope, AuditEvent(event_type, actor, origin, "keyring", scope.slug, changes))
    return step


async def open_books(session: AsyncSession, scope: TenantScope, order: TenantOrder) -> list[PlanEntry]:
    """Open house accounts and sources that are missing, and return them."""
    plugins: Mapping[str, object] = order.plugins
    before = await _read_books(session, scope)
    await ledger.open_house_accounts(session, scope, order.currencies, tuple(plugins))
    for plugin in plugins:
        await ledger.ensure_source(session, scope, f"games.{plugin}")
    return [PlanEntry("+", path, None, True) for path in await _read_books(session, scope) if path not in before]


async def _read_books(session: AsyncSession, scope: TenantScope) -> list[str]:
    chart = await ledger.list_house_accounts(session, scope)
    accounts_held = [
        ".".join(filter(None, ("ledger", account.kind.name.lower(), account.currency, account.provider)))
        for account in chart
    ]
    return accounts_held + [f"ledger.source.{name}" for name in await ledger.list_sources(session, scope)]


async def find_live_data(session: AsyncSession, scope: TenantScope, order: TenantOrder) -> list[str]:
    """Return why what the files drop may not go: players of a brand or under a licence, wallets of a currency."""
    refusals: list[str] = []
    for licence, players in sorted((await accounts.count_licences(session, scope)).items()):
        if licence and licence not in order.packs:
            refusals.append(f"pack {licence} cannot be removed: {players} player accounts are under it")
        elif not licence and order.packs:
            refusals.append(f"packs cannot be added: {players} player accounts are under none, which never changes")
    for brand in order.leaving_brands:
        players = await accounts.count_players(session, scope, brand)
        if players:
            refusals.append(f"brand {brand} cannot be removed: it has {players} player accounts")
    for currency in order.leaving_currencies:
        wallets = await ledger.count_wallets(session, scope, currency)
        if wallets:
            refusals.append(f"currency {currency} cannot be removed: {wallets} wallets are kept in it")
    return refusals
