"""What the sealed log reads of rounds, on a connection of its own."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import asyncpg

from pitboss.games.contracts import SealedRound

# The fence (`offset 0`) keeps it a look-up for each round whatever the statistics say of a table that grows.
_ROUNDS = """
select r.round_id, r.wallet_id, r.reference, v.plugin, v.code, v.version_hash
from unnest($2::uuid[], $3::bigint[]) as n (round_id, wallet_id)
cross join lateral (select * from round r where r.tenant_id = $1 and r.round_id = n.round_id
    and r.wallet_id = n.wallet_id offset 0) r
cross join lateral (select * from game_version v where v.tenant_id = $1 and v.version_id = r.game_version_id offset 0) v
"""


async def fetch_sealed_rounds(
    connection: asyncpg.Connection, tenant_id: int, names: Collection[tuple[UUID, int]]
) -> dict[tuple[UUID, int], SealedRound]:
    """Return what a provider calls rounds and what was played, by round and wallet."""
    rows = await connection.fetch(_ROUNDS, tenant_id, [name[0] for name in names], [name[1] for name in names])
    return {(row[0], row[1]): SealedRound(row[0], *row[2:]) for row in rows}
