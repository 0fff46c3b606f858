"""The proof: projection against journal, conservation, keys, holds and awards, in one snapshot a tenant."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import Finding, Verification

_CHECKS: dict[str, str] = {
    "wallet equals journal": """
        select w.wallet_id::text, format('wallet (%s,%s,%s,%s) at version %s, journal (%s,%s,%s,%s) with %s rows up to %s',
            w.real_minor, w.bonus_minor, w.held_minor, w.debt_minor, w.version,
            j.real_sum, j.bonus_sum, j.held_sum, j.debt_sum, j.row_count, j.last_version)
        from wallet w
        left join (select wallet_id, sum(d_real) as real_sum, sum(d_bonus) as bonus_sum, sum(d_held) as held_sum,
                sum(d_debt) as debt_sum, count(*) as row_count, max(version) as last_version
            from journal where tenant_id = :tenant_id group by wallet_id) j using (wallet_id)
        where w.tenant_id = :tenant_id and (w.version <> coalesce(j.last_version, 0)
            or w.version <> coalesce(j.row_count, 0)
            or w.real_minor <> coalesce(j.real_sum, 0) or w.bonus_minor <> coalesce(j.bonus_sum, 0)
            or w.held_minor <> coalesce(j.held_sum, 0) or w.debt_minor <> coalesce(j.debt_sum, 0))""",
    "journal without wallet": """
        select j.wallet_id::text, 'journal rows of a wallet that is not there' from journal j
        where j.tenant_id = :tenant_id and not exists
            (select from wallet w where w.tenant_id = j.tenant_id and w.wallet_id = j.wallet_id) group by 1""",
    "each row continues the last": """
        select wallet_id || '/' || version, 'the buckets after are not the buckets before plus the deltas'
        from (select wallet_id, version, real_after - d_real as r, bonus_after - d_bonus as b, held_after - d_held as h,
                debt_after - d_debt as d, lag(real_after, 1, 0::bigint) over journey as pr,
                lag(bonus_after, 1, 0::bigint) over journey as pb, lag(held_after, 1, 0::bigint) over journey as ph,
                lag(debt_after, 1, 0::bigint) over journey as pd
            from journal where tenant_id = :tenant_id window journey as (partition by wallet_id order by version)) s
        where (r, b, h, d) <> (pr, pb, ph, pd)""",
    "no bucket negative": """
        select wallet_id || '/' || version, 'a bucket is negative' from journal
        where tenant_id = :tenant_id and (real_after < 0 or bonus_after < 0 or held_after < 0 or debt_after < 0)""",
    "house equals journal": """
        select a.account_id::text, format('house %s, journal %s', coalesce(b.folded_minor, 0) + coalesce(d.waiting, 0),
            coalesce(j.booked, 0))
        from house_account a
        left join house_balance b using (tenant_id, account_id)
        left join (select account_id, sum(delta_minor) as waiting from house_delta where tenant_id = :tenant_id
            group by account_id) d using (account_id)
        left join (select account_id, sum(d_counter) as booked from journal where tenant_id = :tenant_id
            group by account_id) j using (account_id)
        where a.tenant_id = :tenant_id
            and coalesce(b.folded_minor, 0) + coalesce(d.waiting, 0) <> coalesce(j.booked, 0)""",
    "booking on an account that is not there": """
        select j.account_id::text, 'bookings on an unknown house account' from journal j
        where j.tenant_id = :tenant_id and j.d_counter <> 0 and not exists
            (select from house_account a where a.tenant_id = j.tenant_id and a.account_id = j.account_id) group by 1""",
    "money is conserved": """
        select currency, format('players %s, house %s', sum(players), sum(house))
        from (select currency, sum(real_minor + bonus_minor + held_minor - debt_minor) as players, 0 as house
            from wallet where tenant_id = :tenant_id group by currency
            union all
            select a.currency, 0, coalesce(sum(b.folded_minor), 0) from house_account a
            join house_balance b using (tenant_id, account_id) where a.tenant_id = :tenant_id group by a.currency
            union all
            select a.currency, 0, coalesce(sum(d.delta_minor), 0) from house_account a
            join house_delta d using (tenant_id, account_id) where a.tenant_id = :tenant_id group by a.currency) s
        group by currency having sum(players) + sum(house) <> 0""",
    "one currency a booking": """
        select j.wallet_id || '/' || j.version, 'wallet and house account have different currencies'
        from journal j join wallet w on w.tenant_id = j.tenant_id and w.wallet_id = j.wallet_id
        join house_account a on a.tenant_id = j.tenant_id and a.account_id = j.account_id
        where j.tenant_id = :tenant_id and a.currency <> w.currency limit 100""",
    "every booking has its key": """
        select j.wallet_id || '/' || j.version, 'no accepted key answers for it' from journal j
        where j.tenant_id = :tenant_id and not exists
            (select from call_key k where k.tenant_id = j.tenant_id and k.source_id = j.source_id
             and k.key = encode(substr(sha256(convert_to(j.reference, 'UTF8')), 1, 16), 'hex')::uuid
             and k.wallet_id = j.wallet_id and k.version = j.version and k.outcome = 1)""",
    "every accepted key has its booking": """
        select k.key::text, 'accepted without a booking' from call_key k
        where k.tenant_id = :tenant_id and k.outcome = 1 and not exists
            (select from journal j where j.tenant_id = k.tenant_id and j.wallet_id = k.wallet_id
             and j.version = k.version)""",
    "a reversal negates what it reverses": """
        select r.wallet_id || '/' || r.version, 'not the negation of the booking it reverses'
        from journal r left join journal o on o.tenant_id = r.tenant_id and o.wallet_id = r.wallet_id
            and o.version = r.reverses_version
        where r.tenant_id = :tenant_id and r.reverses_version is not null
            and (o.version is null or o.d_counter <> -r.d_counter)""",
    "open holds equal held": """
        select w.wallet_id::text, format('held %s, open holds %s', w.held_minor, coalesce(sum(h.amount_minor
            - h.captured_minor - h.released_minor), 0))
        from wallet w left join hold h on h.tenant_id = w.tenant_id and h.wallet_id = w.wallet_id and h.state = 1
        where w.tenant_id = :tenant_id group by w.wallet_id, w.held_minor
        having w.held_minor <> coalesce(sum(h.amount_minor - h.captured_minor - h.released_minor), 0)""",
    "awards equal bonus": """
        select w.wallet_id::text, format('bonus %s, awards %s', w.bonus_minor, coalesce(sum(a.remaining_minor), 0))
        from wallet w left join award a on a.tenant_id = w.tenant_id and a.wallet_id = w.wallet_id
        where w.tenant_id = :tenant_id group by w.wallet_id, w.bonus_minor
        having w.bonus_minor <> coalesce(sum(a.remaining_minor), 0)""",
}


async def verify_tenant(
    session: AsyncSession, scope: TenantScope, progress: Callable[[str], None] = lambda _check: None
) -> Verification:
    """Run every check over one tenant; the transaction must be REPEATABLE READ, so that all see one moment."""
    findings: list[Finding] = []
    for check, statement in _CHECKS.items():
        progress(check)
        rows = await session.execute(text(statement), {"tenant_id": scope.tenant_id})
        findings += [
            Finding(scope.tenant_id, check, str(subject), str(detail)) for subject, detail in rows.fetchmany(100)
        ]
    counts = await session.execute(
        text(
            "select (select count(*) from wallet where tenant_id = :tenant_id),"
            " (select count(*) from journal where tenant_id = :tenant_id)"
        ),
        {"tenant_id": scope.tenant_id},
    )
    wallets, bookings = counts.one()
    return Verification(1, int(wallets), int(bookings), tuple(findings))
