"""What the sealed log reads of the journal, on a connection of its own: what is not in it yet, wallet by wallet."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import asyncpg

from pitboss.ledger.contracts import AccountKind, HouseName, JournalSpan, JournalSum

_UNSEALED = """
select w.tenant_id, w.wallet_id, coalesce(s.version, 0), w.version, w.currency
from wallet w left join journal_sealed s on s.tenant_id = w.tenant_id and s.wallet_id = w.wallet_id
where w.tenant_id = any($1::bigint[]) and w.version > coalesce(s.version, 0)
order by w.tenant_id, w.wallet_id
"""
# The fence (`offset 0`) keeps it a look-up for each wallet whatever the statistics say of a table that grows.
_JOURNAL = """
select j.wallet_id, j.version, j.batch_id, j.op, j.account_id, j.source_id, j.d_real, j.d_bonus, j.d_held, j.d_debt,
    j.d_counter, j.real_after, j.bonus_after, j.held_after, j.debt_after, j.reverses_version, j.created_at,
    j.round_id::text, j.reference
from unnest($2::bigint[], $3::bigint[], $4::bigint[]) as n (wallet_id, above, upto)
cross join lateral (select * from journal j where j.tenant_id = $1 and j.wallet_id = n.wallet_id
    and j.version > n.above and j.version <= n.upto order by j.version offset 0) j
"""
_MARK_NEW = """
insert into journal_sealed (tenant_id, wallet_id, version)
select $1, wallet_id, version from unnest($2::bigint[], $3::bigint[]) as n (wallet_id, version)
on conflict do nothing
"""
_MARK = """
update journal_sealed s set version = n.upto
from unnest($2::bigint[], $3::bigint[], $4::bigint[]) as n (wallet_id, above, upto)
where s.tenant_id = $1 and s.wallet_id = n.wallet_id and s.version = n.above
"""
_SUMS = """
select w.currency, count(*), sum(j.d_real)::bigint, sum(j.d_bonus)::bigint, sum(j.d_held)::bigint,
    sum(j.d_debt)::bigint, sum(j.d_counter)::bigint
from journal j
join journal_sealed s on s.tenant_id = j.tenant_id and s.wallet_id = j.wallet_id and j.version <= s.version
join wallet w on w.tenant_id = j.tenant_id and w.wallet_id = j.wallet_id
where j.tenant_id = $1 group by w.currency
"""


async def list_unsealed(connection: asyncpg.Connection, tenant_ids: Collection[int]) -> dict[int, list[JournalSpan]]:
    """Return by tenant the versions of each wallet that are committed and not sealed; one scan for all of them."""
    found: dict[int, list[JournalSpan]] = {}
    for row in await connection.fetch(_UNSEALED, list(tenant_ids)):
        found.setdefault(row[0], []).append(JournalSpan(*row[1:]))
    return found


async def fetch_spans(
    connection: asyncpg.Connection, tenant_id: int, spans: Sequence[JournalSpan]
) -> list[asyncpg.Record]:
    """Return the journal rows of spans.

    Each is wallet, version, batch, op, account, source, the five deltas, the four buckets after, what is reversed, time,
    round and reference.
    """
    return await connection.fetch(
        _JOURNAL,
        tenant_id,
        [span.wallet_id for span in spans],
        [span.above for span in spans],
        [span.upto for span in spans],
    )


async def mark_sealed(connection: asyncpg.Connection, tenant_id: int, spans: Sequence[JournalSpan]) -> bool:
    """Note that spans are sealed; return False if a mark was not where a span begins, and then roll back."""
    new, old = [span for span in spans if not span.above], [span for span in spans if span.above]
    done = [
        await connection.execute(_MARK_NEW, tenant_id, [span.wallet_id for span in new], [span.upto for span in new]),
        await connection.execute(
            _MARK,
            tenant_id,
            [span.wallet_id for span in old],
            [span.above for span in old],
            [span.upto for span in old],
        ),
    ]
    return done == [f"INSERT 0 {len(new)}", f"UPDATE {len(old)}"]


async def fetch_marks(connection: asyncpg.Connection, tenant_id: int) -> dict[int, int]:
    """Return up to which version each wallet is sealed."""
    rows = await connection.fetch("select wallet_id, version from journal_sealed where tenant_id = $1", tenant_id)
    return {row[0]: row[1] for row in rows}


async def fetch_sealed_sums(connection: asyncpg.Connection, tenant_id: int) -> dict[str, JournalSum]:
    """Return by currency how many journal rows are sealed and what their deltas come to, by the journal as it stands."""
    return {row[0]: JournalSum(*row[1:]) for row in await connection.fetch(_SUMS, tenant_id)}


async def fetch_house_names(connection: asyncpg.Connection, tenant_id: int) -> dict[int, HouseName]:
    """Return what each house account is."""
    rows = await connection.fetch(
        "select account_id, kind, currency, provider from house_account where tenant_id = $1", tenant_id
    )
    return {row[0]: HouseName(AccountKind(row[1]), row[2], row[3]) for row in rows}


async def fetch_source_names(connection: asyncpg.Connection, tenant_id: int) -> dict[int, str]:
    """Return the name of each source of external ids."""
    rows = await connection.fetch("select source_id, name from source where tenant_id = $1", tenant_id)
    return {row[0]: row[1] for row in rows}
