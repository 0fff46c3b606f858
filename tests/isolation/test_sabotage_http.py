"""The probes of the web are probed: each of its guards is taken away once, and the probes must see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE
from tests.isolation.conftest import Figures
from tests.isolation.http_probes import HttpProber
from tests.isolation.probes import Report
from tests.isolation.wallet_probes import probe_signatures, probe_wallet
from tests.isolation.world import World, open_world

import pitboss.accounts.service as accounts
from pitboss.accounts.errors import AccountNotActive, PlayerNotFound
from pitboss.directory.contracts import ForeignTenant
from pitboss.directory.runtime import Directory
from pitboss.games.runtime import Holders
from pitboss.platform.db import Database
from pitboss.web import security
from pitboss_plugins.games.softswiss.driver import SoftswissDialect

Break = Callable[[World, pytest.MonkeyPatch], None]


def accept_any_signature(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SoftswissDialect, "verify", lambda _self, _call: None)


def believe_a_header(_world: World, patch: pytest.MonkeyPatch) -> None:
    """A host that a client may claim beside the real one."""
    real = security.host_name
    patch.setattr(
        security, "host_name", lambda connection: connection.headers.get("x-forwarded-host") or real(connection)
    )


def let_everybody_do_everything(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(security, "require", lambda _actor, _key: None)


def find_sessions_of_all_tenants(_world: World, patch: pytest.MonkeyPatch) -> None:
    real = accounts.find_session

    async def find(session: Any, _scope: Any, token: str) -> Any:
        return await real(session, AURORA, token) or await real(session, JADE, token)

    _open_every_tenant(patch)
    patch.setattr(security, "find_session", find)


def tell_what_is_elsewhere(world: World, patch: pytest.MonkeyPatch) -> None:
    """A kinder error for an id that another tenant has."""
    real = accounts.get_player

    async def get_player(session: Any, scope: Any, public_id: Any) -> Any:
        try:
            return await real(session, scope, public_id)
        except PlayerNotFound:
            if await world.admin.fetchval("select true from player where public_id = $1", public_id):
                raise AccountNotActive("this account belongs to somebody else") from None
            raise

    patch.setattr(accounts, "get_player", get_player)


def look_players_up_everywhere(_world: World, patch: pytest.MonkeyPatch) -> None:
    """Wallet calls that find the player of an account id whatever tenant it is of."""
    real = Holders._read

    async def read(self: Holders, names: Any) -> Any:
        found = await real(self, names)
        elsewhere = await real(self, [(JADE.tenant_id, account, currency) for _, account, currency in names])
        return {name: _first_holder(found[name], elsewhere[JADE.tenant_id, name[1], name[2]]) for name in names}

    patch.setattr(Holders, "_read", read)


def _first_holder(mine: Any, theirs: Any) -> Any:
    return theirs if isinstance(mine, str) and not isinstance(theirs, str) else mine


def _open_every_tenant(patch: pytest.MonkeyPatch) -> None:
    """Transactions that are signed for all tenants: the wall is open, what is left is each query's own condition."""
    real = Database.tenants_transaction
    both = [AURORA.tenant_id, JADE.tenant_id]
    patch.setattr(Database, "tenants_transaction", lambda self, _tenants: real(self, both))


def tell_whose_it_is(_world: World, patch: pytest.MonkeyPatch) -> None:
    """A kinder answer to who asks in the wrong cell."""
    patch.setattr(
        Directory,
        "find_elsewhere",
        lambda _self, domain: ForeignTenant(domain, (domain,), "br-1", f"br-1 for {domain}"),
    )


PROBES: dict[str, Callable[[HttpProber], Awaitable[None]]] = {
    "signatures": probe_signatures,
    "hosts": HttpProber.probe_hosts,
    "operations": HttpProber.probe_operations,
    "wallet": probe_wallet,
}
ABROAD: tuple[tuple[str, Break, str, tuple[str, ...]], ...] = (
    ("a cell tells whose a domain is", tell_whose_it_is, "hosts", ("of B's domain in A's cell",)),
    ("any signature is accepted abroad", accept_any_signature, "signatures", ("wallet jade", "signed by A")),
    (
        "everybody may do everything abroad",
        let_everybody_do_everything,
        "operations",
        ("player GET", "without the right"),
    ),
)
"""Guards of the web that matter, or matter as much, where the other tenant lives in another cell."""
SABOTAGES: tuple[tuple[str, Break, str, tuple[str, ...]], ...] = (
    ("any signature is accepted", accept_any_signature, "signatures", ("wallet jade", "signed by A")),
    ("a header is believed", believe_a_header, "hosts", ("x-forwarded-host", "the answer holds")),
    ("everybody may do everything", let_everybody_do_everything, "operations", ("player GET", "without the right")),
    ("sessions of all tenants are found", find_sessions_of_all_tenants, "operations", ("player of the other",)),
    ("an error tells what is elsewhere", tell_what_is_elsewhere, "operations", ("operator GET", "player_id")),
    ("wallet calls find players everywhere", look_players_up_everywhere, "wallet", ("with player_id",)),
)


@pytest.mark.parametrize(("name", "sabotage", "probe", "words"), SABOTAGES, ids=[each[0] for each in SABOTAGES])
async def test_a_missing_guard_of_the_web_is_seen(
    name: str,
    sabotage: Break,
    probe: str,
    words: tuple[str, ...],
    cell_database: PlaneDatabase,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    figures.sabotages[name] = False
    report = Report()
    async with open_world(cell_database, redis_url, tmp_path) as world:
        sabotage(world, monkeypatch)
        await PROBES[probe](HttpProber(world, report))
    figures.sabotages[name] = bool(report.leaks_of(*words))
    assert figures.sabotages[name], f"not among the findings: {report.leaks[:10]}"


@pytest.mark.parametrize(("name", "sabotage", "probe", "words"), ABROAD, ids=[each[0] for each in ABROAD])
async def test_a_missing_guard_between_cells_is_seen(
    name: str,
    sabotage: Break,
    probe: str,
    words: tuple[str, ...],
    cell_database: PlaneDatabase,
    neighbour_database: PlaneDatabase,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    figures.sabotages[name] = False
    report = Report()
    async with open_world(cell_database, redis_url, tmp_path, neighbour_database) as world:
        sabotage(world, monkeypatch)
        await PROBES[probe](HttpProber(world, report))
    figures.sabotages[name] = bool(report.leaks_of(*words))
    assert figures.sabotages[name], f"not among the findings: {report.leaks[:10]}"


async def test_with_the_wall_open_each_query_keeps_to_its_tenant(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    """Two walls: under a context of both tenants, the conditions of the queries alone hold as well."""
    report = figures.new_report("http")
    async with open_world(cell_database, redis_url, tmp_path) as world:
        _open_every_tenant(monkeypatch)
        for probe in PROBES.values():
            await probe(HttpProber(world, report))
    assert report.leaks == [], "\n".join(report.leaks)
