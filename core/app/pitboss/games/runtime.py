"""What the games room keeps for the life of a process: its part in wallet batches, holders and endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.games.contracts import Endpoint, Holder, RoundFacts, RoundSubject
from pitboss.games.rules import apply_call, decide_admission, decide_basis
from pitboss.games.store.rounds import RoundName, read_rounds, save_rounds
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AccountKind, WalletState
from pitboss.platform.db import DatabaseUnavailable, LaneConnection
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import LoadedPlugin
from pitboss.plughost.service import Secrets
from pitboss.wallet.contracts import LegResult, WalletRequest
from pitboss_sdk.games import Refusal

_LOG = structlog.get_logger("pitboss.games")
PATIENCE_SHARE: Final = 5
"""A call is refused at admission once the queue has waited this part of the provider's time limit."""


class RoundBook:
    """The rounds of one batch; calls of one round share its row."""

    def __init__(self, requests: Sequence[WalletRequest], facts: Sequence[RoundFacts]) -> None:
        self._facts: dict[int, RoundFacts] = {}
        self._rounds: dict[RoundName, RoundFacts] = {}
        self._changed: dict[RoundName, tuple[RoundName, int, RoundSubject, RoundFacts]] = {}
        for request, its in zip(requests, facts, strict=True):
            if request.round_id:
                self._rounds.setdefault((request.tenant_id, request.round_id, request.wallet_id), its)
            self._facts[id(request)] = its

    def _round(self, request: WalletRequest) -> RoundFacts:
        """Return the shared round with this call's own session and game."""
        own = self._facts[id(request)]
        if not request.round_id:
            return own
        shared = self._rounds[(request.tenant_id, request.round_id, request.wallet_id)]
        shared.session_ok, shared.game_ok, shared.game_version_id = own.session_ok, own.game_ok, own.game_version_id
        return shared

    def admit(self, request: WalletRequest) -> Refusal | None:
        """Return why a bet of `request` may not be booked, or None."""
        return decide_admission(self._round(request), request.subject)

    def basis(self, request: WalletRequest) -> tuple[int, int] | Refusal:
        """Return the stakes that a win of `request` returns to, or why it cannot be booked."""
        return decide_basis(self._round(request), request.subject)

    def applied(self, request: WalletRequest, results: Sequence[LegResult], before: int, wallet: WalletState) -> None:
        """Take an accepted request into its round."""
        if not request.round_id:
            return
        facts = self._round(request)
        apply_call(facts, request.subject, results, before, wallet.playable)
        if facts.dirty:
            name = (request.tenant_id, request.round_id, request.wallet_id)
            self._changed[name] = (name, request.source_id, request.subject, facts)

    async def save(self, connection: asyncpg.Connection) -> None:
        """Write the rounds that changed."""
        if self._changed:
            await save_rounds(connection, list(self._changed.values()))


class Rounds:
    """The companion that wallet requests of the games room name."""

    async def load(self, connection: asyncpg.Connection, requests: Sequence[WalletRequest]) -> RoundBook:
        """Read sessions, games and rounds of a batch in one statement."""
        return RoundBook(requests, await read_rounds(connection, requests))


class Holders:
    """Which wallet an aggregator's account id means: kept in the process, because it never changes.

    Look-ups that come together go to the database together, on a connection of their own.
    """

    def __init__(self, connection: LaneConnection, most: int = 200_000) -> None:
        self._connection = connection
        self._most = most
        self._known: dict[tuple[int, str, str], Holder] = {}
        self._asked: dict[tuple[int, str, str], asyncio.Future[Holder | Refusal]] = {}
        self._task: asyncio.Task[None] | None = None

    def find_known(self, tenant_id: int, account: str, currency: str) -> Holder | None:
        """Return the wallet when this process has seen it before."""
        return self._known.get((tenant_id, account, currency))

    async def find(self, tenant_id: int, account: str, currency: str) -> Holder | Refusal:
        """Return the wallet, or why there is none; raise `DatabaseUnavailable`."""
        name = (tenant_id, account, currency)
        future = self._asked.get(name)
        if future is None:
            future = self._asked[name] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._look_up(), name="holders")
        return await asyncio.shield(future)

    async def _look_up(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await self._read(list(asked))
            except Exception as error:  # noqa: BLE001 - whatever it is, everyone who waits gets an answer
                _LOG.warning("games.look_up_failed", error_type=type(error).__name__)
                self._connection.drop()
                for future in asked.values():
                    if not future.done():
                        future.set_exception(DatabaseUnavailable("the database does not answer"))
                continue
            if len(self._known) > self._most:
                self._known.clear()
            for name, future in asked.items():
                answer = found[name]
                if isinstance(answer, Holder):
                    self._known[name] = answer
                if not future.done():
                    future.set_result(answer)
        self._task = None

    async def _read(self, names: Sequence[tuple[int, str, str]]) -> dict[tuple[int, str, str], Holder | Refusal]:
        connection = await self._connection.ready(frozenset([name[0] for name in names]))
        public_ids = {name: _as_uuid(name[1]) for name in names}
        players = [(name[0], public_id) for name, public_id in public_ids.items() if public_id is not None]
        numbers = await accounts.read_player_numbers(connection, players)
        by_name = {name: numbers.get((name[0], public_id)) for name, public_id in public_ids.items() if public_id}
        owned = [(name[0], number, name[2]) for name, number in by_name.items() if number is not None]
        wallets = await ledger.read_wallet_numbers(connection, owned)
        answers: dict[tuple[int, str, str], Holder | Refusal] = {}
        for name in names:
            number = by_name.get(name)
            wallet_id = None if number is None else wallets.get((name[0], number, name[2]))
            if number is None:
                answers[name] = Refusal.PLAYER_UNKNOWN
            else:
                answers[name] = Refusal.CURRENCY_MISMATCH if wallet_id is None else Holder(number, wallet_id)
        return answers

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class Endpoints:
    """The callback addresses that this cell answers, by tenant slug and plugin slug; renewed in the background."""

    def __init__(self, plugins: Mapping[str, LoadedPlugin], secrets: Secrets) -> None:
        self._plugins = plugins
        self._secrets = secrets
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._stamps: dict[str, tuple[object, ...]] = {}

    def find(self, tenant_slug: str, plugin_slug: str) -> Endpoint | None:
        """Return the endpoint of a served tenant's enabled plugin."""
        return self._endpoints.get((tenant_slug, plugin_slug))

    def find_plugin(self, plugin_slug: str) -> LoadedPlugin | None:
        """Return a loaded plugin of kind `games`, so that even a stranger is refused in its dialect's shape."""
        plugin = self._plugins.get(plugin_slug)
        return plugin if plugin is not None and plugin.manifest.kind == "games" else None

    async def renew(self, session: AsyncSession, scope: TenantScope) -> None:
        """Bring one tenant's endpoints to what it has enabled now; if nothing changed, its dialects stay."""
        enabled = await plughost.list_enabled(session, scope)
        house = await ledger.list_account_numbers(session, scope, AccountKind.GAME_REVENUE)
        stamp = (scope, *[(found.slug, found.updated_at) for found in enabled], *sorted(house.items()))
        if self._stamps.get(scope.slug) == stamp:
            return
        built = await plughost.load_dialects(session, scope, self._plugins, self._secrets)
        fresh: dict[str, Endpoint] = {}
        for slug, dialect in built.instances.items():
            source = f"games.{slug}"
            fresh[slug] = Endpoint(
                scope=scope,
                plugin=slug,
                dialect=dialect,
                source_id=await ledger.ensure_source(session, scope, source),
                source_name=source,
                revenue_accounts={currency: number for (name, currency), number in house.items() if name == slug},
                patience_ms=dialect.answer_within_ms // PATIENCE_SHARE,
            )
        self._endpoints = {key: found for key, found in self._endpoints.items() if key[0] != scope.slug}
        self._endpoints |= {(scope.slug, slug): endpoint for slug, endpoint in fresh.items()}
        if not built.problems:
            self._stamps[scope.slug] = stamp

    def keep_only(self, slugs: AbstractSet[str]) -> None:
        """Stop answering for tenants that are not among `slugs`."""
        self._endpoints = {key: found for key, found in self._endpoints.items() if key[0] in slugs}
        self._stamps = {slug: stamp for slug, stamp in self._stamps.items() if slug in slugs}
