"""What the sealed log reads of rounds, on a connection of its own."""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from pitboss.games.contracts import SealedRound

# The fence (`offset 0`) keeps it a look-up for each round whatever the statistics say of a table that grows.
_ROUNDS = """
select n.round_id, n.wallet_id, r.reference, r.game_version_id
from unnest($2::text[], $3::bigint[]) as n (round_id, wallet_id)
cross join lateral (select * from round r where r.tenant_id = $1 and r.round_id = n.round_id::uuid
    and r.wallet_id = n.wallet_id offset 0) r
"""
_VERSIONS = """
select version_id, plugin, code, version_hash from game_version where tenant_id = $1 and version_id = any($2::bigint[])
"""


async def fetch_sealed_rounds(
    connection: asyncpg.Connection, tenant_id: int, names: Collection[tuple[str, int]]
) -> dict[tuple[str, int], SealedRound]:
    """Return what a provider calls rounds and what was played, by round and wallet."""
    rows = await connection.fetch(_ROUNDS, tenant_id, [name[0] for name in names], [name[1] for name in names])
    found = await connection.fetch(_VERSIONS, tenant_id, list({row[3] for row in rows}))
    versions = {row[0]: (row[1], row[2], row[3]) for row in found}
    return {(row[0], row[1]): SealedRound(row[0], row[2], *versions[row[3]]) for row in rows}
