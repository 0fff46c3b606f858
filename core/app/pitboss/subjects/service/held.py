"""What is held of a subject, table by table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import Player
from pitboss.accounts.errors import PlayerErased
from pitboss.kernel.scope import TenantScope
from pitboss.keys.service import KeyRing
from pitboss.subjects import rules, store
from pitboss.subjects.contracts import Held, Row, Subject, TableShape
from pitboss.subjects.rules import Binding

_IDENTITY = "player_identity"


def list_unbound(metadata: MetaData) -> list[str]:
    """Return the tables of which nothing says whether and how they hold something of a subject."""
    return rules.find_unbound(store.list_shapes(metadata))


async def collect_held(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, metadata: MetaData, player: Player
) -> tuple[Subject, list[Held]]:
    """Return everything that the cell holds of a player, by the classes of all columns of `metadata`.

    What is sealed is opened also where processing is restricted: to tell a subject is what the law asks for. Raises
    `TableNotBound` rather than to leave a table out.
    """
    wallets = await store.fetch_wallet_ids(session, scope, metadata, player.player_id)
    subject = Subject(player.player_id, player.public_id, wallets)
    bound = rules.list_bound(store.list_shapes(metadata))
    found: list[tuple[TableShape, Sequence[Row]]] = []
    cases: list[Any] = []
    for table, binding in sorted(bound, key=lambda each: each[1] is Binding.CASE):
        if binding is Binding.EVENT:
            continue
        names = {
            Binding.PLAYER: [subject.player_id],
            Binding.WALLET: wallets,
            Binding.SUBJECT: [subject.public_id],
            Binding.CASE: cases,
        }[binding]
        rows = await store.fetch_rows(session, scope, metadata.tables[table.name], binding.value, names)
        if table.name == "subject_case":
            cases = [row["case_id"] for row in rows]
        found.append((table, rows))
    opened = await _open_identity(session, scope, ring, player)
    held = [rules.tell_rows(table, rows, opened if table.name == _IDENTITY else {}) for table, rows in found]
    whole, beginnings = rules.event_names(subject, found)
    for table, binding in bound:
        if binding is Binding.EVENT:
            events = await store.fetch_event_rows(
                session, scope, metadata.tables[table.name], subject, whole, beginnings
            )
            held.append(rules.tell_events(table, events, subject))
    return subject, sorted(held, key=lambda each: each.table)


async def _open_identity(session: AsyncSession, scope: TenantScope, ring: KeyRing, player: Player) -> dict[str, Any]:
    try:
        identity = await accounts.get_identity(session, scope, ring, player, despite_restriction=True)
    except PlayerErased:
        return {}
    return {field: getattr(identity, field) for field in identity.__struct_fields__}
