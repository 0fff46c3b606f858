"""What the games room keeps for the life of a process: its part in wallet batches, holders and endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.games.contracts import Endpoint, GameFacts, Holder, RoundFacts, RoundSubject, SessionFacts
from pitboss.games.rules import apply_call, decide_admission, decide_basis
from pitboss.games.store.rounds import (
    ChangedRound,
    GameName,
    RoundName,
    SessionName,
    ask_games,
    ask_rounds,
    ask_sessions,
    plan_games,
    plan_rounds,
    plan_seen,
    tell_games,
    tell_rounds,
    tell_sessions,
)
from pitboss.kernel.clock import epoch_microseconds
from pitboss.kernel.scope import TenantScope
from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AccountKind, Op, WalletState
from pitboss.platform.db import DatabaseUnavailable, LaneConnection
from pitboss.platform.memory import Memory
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import LoadedPlugin
from pitboss.plughost.service import Secrets
from pitboss.wallet.contracts import LegResult, WalletRequest
from pitboss_sdk.games import Refusal

_LOG = structlog.get_logger("pitboss.games")
PATIENCE_SHARE: Final = 5
"""A call is refused at admission once the queue has waited this part of the provider's time limit."""


REMEMBERED: Final = 65_536
"""Rounds that a lane remembers at least."""
SESSIONS_NOTED: Final = 8
"""Sessions that a wallet's notes hold at most."""


class RoundBook:
    """The rounds of one batch; calls of one round share its row."""

    def __init__(
        self,
        sessions: Mapping[SessionName, SessionFacts],
        games: Mapping[GameName, GameFacts],
        rounds: dict[RoundName, RoundFacts],
        remembered: Memory[RoundName, RoundFacts],
        now_us: int,
    ) -> None:
        self._sessions = sessions
        self._games = games
        self._rounds = rounds
        self._remembered = remembered
        self._now_us = now_us
        self._changed: dict[RoundName, ChangedRound] = {}
        self._looked_at: dict[RoundName, tuple[int, int]] = {}
        self._played: dict[GameName, GameFacts] = {}

    def _look(self, request: WalletRequest) -> RoundFacts | None:
        """Return the round that a decision is made on; one that is not known is taken for new."""
        name = (request.tenant_id, request.round_id, request.wallet_id)
        facts = self._rounds.get(name)
        if request.round_id:
            self._looked_at[name] = (facts.seen_version, facts.seen_state) if facts is not None else (0, 0)
        return facts

    def _game(self, request: WalletRequest) -> GameFacts | None:
        subject: RoundSubject = request.subject
        name = (request.tenant_id, subject.plugin, subject.game)
        game = self._games.get(name)
        if game is not None:
            self._played[name] = game
        return game

    def admit(self, request: WalletRequest) -> Refusal | None:
        """Return why a bet of `request` may not be booked, or None."""
        session = self._sessions.get((request.tenant_id, request.wallet_id, request.subject.session))
        return decide_admission(request.subject, session, self._game(request), self._look(request), self._now_us)

    def basis(self, request: WalletRequest) -> tuple[int, int] | Refusal:
        """Return the stakes that a win of `request` returns to, or why it cannot be booked."""
        return decide_basis(self._look(request), request.subject)

    def applied(self, request: WalletRequest, results: Sequence[LegResult], before: int, wallet: WalletState) -> None:
        """Take an accepted request into its round."""
        if not request.round_id:
            return
        name = (request.tenant_id, request.round_id, request.wallet_id)
        facts = self._rounds.get(name)
        if facts is None:
            facts = self._rounds[name] = RoundFacts()
        game = self._game(request)
        version_id = game.version_id if game is not None else 0
        apply_call(facts, request.subject, version_id, results, before, wallet.playable)
        if facts.dirty:
            self._changed[name] = (name, request.source_id, request.subject, facts)

    def plan(self) -> list[WritePart]:
        """Return the parts that write the rounds that changed, and check what else decisions were made on."""
        # Rounds are locked in the order of their names by every batch of every process: a batch that meets another
        # then waits for it and never for one that waits for it in turn.
        parts = plan_rounds([self._changed[name] for name in sorted(self._changed)]) if self._changed else []
        if self._played:
            parts.append(plan_games(self._played))
        others = {name: seen for name, seen in self._looked_at.items() if name not in self._changed}
        return [*parts, plan_seen(others)] if others else parts

    def settle(self, *, stands: bool) -> None:
        """Remember the rounds as the batch leaves them, once it is planned; forget them where it failed."""
        for name, facts in self._rounds.items():
            if stands and facts.exists:
                facts.stored, facts.dirty = True, False
                facts.seen_version, facts.seen_state = facts.last_version, facts.state
                self._remembered.put(name, facts)
            else:
                self._remembered.forget(name)


class RoundMemory:
    """What a lane remembers of games and rounds, and in the notes of wallets of sessions.

    A session changes only with a version of its wallet, and ends by the clock; rounds and games are checked by the
    statement that writes.
    """

    def __init__(self) -> None:
        self._rounds: Memory[RoundName, RoundFacts] = Memory(REMEMBERED)
        self._games: dict[GameName, GameFacts] = {}
        self._asked: tuple[list[SessionName], list[GameName], list[RoundName]] = ([], [], [])
        self._found: tuple[dict[SessionName, SessionFacts], dict[RoundName, RoundFacts]] = ({}, {})

    def ask(
        self, requests: Sequence[WalletRequest], wallets: Mapping[tuple[int, int], WalletState], *, trusting: bool
    ) -> list[ReadPart]:
        """Return the parts that read what the requests need and is not remembered."""
        if not trusting:
            self._games = {}
        sessions: dict[SessionName, SessionFacts | None] = {}
        games: dict[GameName, None] = {}
        rounds: dict[RoundName, RoundFacts | None] = {}
        for request in requests:
            tenant_id, wallet_id, subject = request.tenant_id, request.wallet_id, request.subject
            if not request.round_id and not request.legs:
                continue
            game = (tenant_id, subject.plugin, subject.game)
            if game not in self._games:
                games[game] = None
            if subject.session:
                name = (tenant_id, wallet_id, subject.session)
                if name not in sessions:
                    wallet = wallets.get((tenant_id, wallet_id))
                    sessions[name] = wallet.notes.get(subject.session) if wallet is not None else None
            if request.round_id:
                round_name = (tenant_id, request.round_id, wallet_id)
                if rounds.get(round_name) is None:
                    facts = self._rounds.get(round_name) if trusting else None
                    begins = bool(request.legs) and request.legs[0].op is Op.BET
                    if facts is not None or not begins or not trusting:
                        rounds[round_name] = facts
        self._asked = (
            [name for name, facts in sessions.items() if facts is None],
            list(games),
            [name for name, facts in rounds.items() if facts is None],
        )
        self._found = (
            {name: facts for name, facts in sessions.items() if facts is not None},
            {name: facts for name, facts in rounds.items() if facts is not None},
        )
        asked_sessions, asked_games, asked_rounds = self._asked
        parts = [ask_sessions(asked_sessions)] if asked_sessions else []
        parts += [ask_games(asked_games)] if asked_games else []
        return parts + ([ask_rounds(asked_rounds)] if asked_rounds else [])

    def open(
        self,
        requests: Sequence[WalletRequest],  # noqa: ARG002 - what they need was asked for
        wallets: Mapping[tuple[int, int], WalletState],
        texts: Sequence[str],
    ) -> RoundBook:
        """Return the book of a batch from what is remembered and what was read."""
        left = list(texts)
        asked_sessions, asked_games, asked_rounds = self._asked
        sessions, rounds = self._found
        if asked_sessions:
            for name, facts in tell_sessions(asked_sessions, left.pop(0)).items():
                sessions[name] = facts
                notes = wallets[name[0], name[1]].notes
                if len(notes) >= SESSIONS_NOTED:
                    notes.clear()
                notes[name[2]] = facts
        if asked_games:
            self._games.update(tell_games(asked_games, left.pop(0)))
        if asked_rounds:
            rounds.update(tell_rounds(asked_rounds, left.pop(0)))
        return RoundBook(sessions, self._games, rounds, self._rounds, epoch_microseconds())

    def clear(self) -> None:
        """Forget everything."""
        self._rounds.clear()
        self._games = {}


class Rounds:
    """The companion that wallet requests of the games room name."""

    def make_memory(self) -> RoundMemory:
        """Return an empty memory for one lane."""
        return RoundMemory()


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
            wallet = None if number is None else wallets.get((name[0], number, name[2]))
            if number is None:
                answers[name] = Refusal.PLAYER_UNKNOWN
            else:
                answers[name] = Refusal.CURRENCY_MISMATCH if wallet is None else Holder(number, *wallet)
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
        self._stamps: dict[str, tuple[tuple[object, ...], object]] = {}
        self._enabled: dict[str, frozenset[str]] = {}

    def find(self, tenant_slug: str, plugin_slug: str) -> Endpoint | None:
        """Return the endpoint of a served tenant's enabled plugin."""
        return self._endpoints.get((tenant_slug, plugin_slug))

    def is_settled(self, tenant_slug: str) -> bool:
        """Return whether what a tenant has enabled is known here, and all of it is served."""
        return tenant_slug in self._stamps

    def find_enabled(self, tenant_slug: str) -> AbstractSet[str] | None:
        """Return the plugins of games that a tenant has enabled, served here or not; None while nobody knows."""
        return self._enabled.get(tenant_slug)

    def find_plugin(self, plugin_slug: str) -> LoadedPlugin | None:
        """Return a loaded plugin of kind `games`, so that even a stranger is refused in its dialect's shape."""
        plugin = self._plugins.get(plugin_slug)
        return plugin if plugin is not None and plugin.manifest.kind == "games" else None

    async def renew(self, session: AsyncSession, scope: TenantScope, *, sessionless: frozenset[str]) -> None:
        """Bring one tenant's endpoints to what it has enabled now; if nothing changed, its dialects stay.

        A file of secrets that cannot be used takes nobody out of service: what was served goes on as it is.
        """
        enabled = await plughost.list_enabled(session, scope)
        self._note_enabled(scope.slug, frozenset(found.slug for found in enabled if found.kind == "games"))
        house = await ledger.list_account_numbers(session, scope, AccountKind.GAME_REVENUE)
        wanted = (
            scope,
            sessionless,
            *[(found.slug, found.updated_at) for found in enabled],
            *sorted(house.items()),
        )
        # Asked before the values, so that what is written meanwhile is seen the next time.
        stamp = (wanted, self._secrets.get_version())
        before = self._stamps.get(scope.slug)
        if before == stamp:
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
                sessionless=sessionless,
            )
        if before is not None and before[0] == wanted:
            for slug in built.problems:
                _LOG.warning("games.secrets_not_read", tenant=scope.slug, plugin=slug)
                kept = self.find(scope.slug, slug)
                if kept is not None:
                    fresh[slug] = kept
        self._endpoints = {key: found for key, found in self._endpoints.items() if key[0] != scope.slug}
        self._endpoints |= {(scope.slug, slug): endpoint for slug, endpoint in fresh.items()}
        if not built.problems:
            self._stamps[scope.slug] = stamp

    def _note_enabled(self, tenant_slug: str, enabled: frozenset[str]) -> None:
        lacking = {slug for slug in enabled if self.find_plugin(slug) is None}
        for slug in sorted(lacking - self._enabled.get(tenant_slug, frozenset())):
            _LOG.error("games.plugin_not_loaded", tenant=tenant_slug, plugin=slug)
        self._enabled[tenant_slug] = enabled

    def keep_only(self, slugs: AbstractSet[str]) -> None:
        """Stop answering for tenants that are not among `slugs`."""
        self._endpoints = {key: found for key, found in self._endpoints.items() if key[0] in slugs}
        self._stamps = {slug: stamp for slug, stamp in self._stamps.items() if slug in slugs}
        self._enabled = {slug: enabled for slug, enabled in self._enabled.items() if slug in slugs}
