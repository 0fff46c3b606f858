"""The proof: projection against journal, conservation, keys, holds and awards, in one snapshot a tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import AwardClaim, Finding, ProofOutcome, Verification
from pitboss.ledger.tables import ProofRow

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
        where j.tenant_id = :tenant_id and j.op <> 12 and not exists
            (select from call_key k where k.tenant_id = j.tenant_id and k.source_id = j.source_id
             and k.key = encode(substr(sha256(convert_to(j.reference, 'UTF8')), 1, 16), 'hex')::uuid
             and k.wallet_id = j.wallet_id and k.version = j.version and k.outcome = 1)""",
    "every accepted key has its booking": """
        select k.key::text, 'accepted without a booking' from call_key k
        where k.tenant_id = :tenant_id and k.outcome = 1 and not exists
            (select from journal j where j.tenant_id = k.tenant_id and j.wallet_id = k.wallet_id
             and j.version = k.version)""",
    "a change of terms moves nothing": """
        select wallet_id || '/' || version, 'a row without a booking moves money' from journal
        where tenant_id = :tenant_id and op = 12
            and (d_real, d_bonus, d_held, d_debt) is distinct from (0::bigint, 0::bigint, 0::bigint, 0::bigint)""",
    "a batch counts its bookings": """
        select batch_id::text, format('batch says %s bookings that come to %s, journal has %s that come to %s',
            b.bookings, b.counter_minor, j.bookings, j.counter_minor)
        from (select batch_id, bookings, counter_minor from batch where tenant_id = :tenant_id) b
        full join (select batch_id, count(*) as bookings, sum(d_counter) as counter_minor from journal
            where tenant_id = :tenant_id and op <> 12 group by batch_id) j using (batch_id)
        where coalesce(b.bookings, 0) <> coalesce(j.bookings, 0)
            or coalesce(b.counter_minor, 0) <> coalesce(j.counter_minor, 0)""",
    "a reversal fits what it reverses": """
        select r.wallet_id || '/' || r.version, 'not a rollback of an earlier bet or win on the same account and round'
        from journal r left join journal o on o.tenant_id = r.tenant_id and o.wallet_id = r.wallet_id
            and o.version = r.reverses_version
        where r.tenant_id = :tenant_id and (r.reverses_version is not null or r.op in (3, 4))
            and ((r.op, o.op) not in ((3, 1), (4, 2)) or o.version is null or o.version >= r.version
                or o.account_id <> r.account_id or o.round_id is distinct from r.round_id)""",
    "a bet's rollback is its exact negation": """
        select r.wallet_id || '/' || r.version, format('took back (%s,%s,%s,%s) of a bet of (%s,%s,%s,%s)',
            r.d_real, r.d_bonus, r.d_held, r.d_debt, o.d_real, o.d_bonus, o.d_held, o.d_debt)
        from journal r join journal o on o.tenant_id = r.tenant_id and o.wallet_id = r.wallet_id
            and o.version = r.reverses_version
        where r.tenant_id = :tenant_id and r.op = 3
            and (r.d_real, r.d_bonus, r.d_held, r.d_debt) <> (-o.d_real, -o.d_bonus, -o.d_held, -o.d_debt)""",
    # The claim is negated whole. Bonus that is not there any more is taken from real money, and real money that is
    # not there becomes debt: only then, so the bucket that could not give it all is empty afterwards.
    "a win's rollback takes back the claim": """
        select r.wallet_id || '/' || r.version, format('took back (%s,%s,%s,%s) of a win of (%s,%s,%s,%s)',
            r.d_real, r.d_bonus, r.d_held, r.d_debt, o.d_real, o.d_bonus, o.d_held, o.d_debt)
        from journal r join journal o on o.tenant_id = r.tenant_id and o.wallet_id = r.wallet_id
            and o.version = r.reverses_version
        where r.tenant_id = :tenant_id and r.op = 4 and (r.d_counter <> -o.d_counter or r.d_held <> -o.d_held
            or r.d_bonus < -o.d_bonus or (r.d_bonus > -o.d_bonus and r.bonus_after > 0)
            or r.d_debt < -o.d_debt or (r.d_debt > -o.d_debt and r.real_after > 0))""",
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
    "an award holds what its entries leave": """
        select a.wallet_id || '/' || a.granted_version, format('remaining %s, granted %s, entries %s',
            a.remaining_minor, a.granted_minor, coalesce(e.moved, 0))
        from award a left join (select wallet_id, granted_version, sum(d_remaining) as moved from award_entry
            where tenant_id = :tenant_id group by wallet_id, granted_version) e using (wallet_id, granted_version)
        where a.tenant_id = :tenant_id and a.remaining_minor <> a.granted_minor + coalesce(e.moved, 0)""",
    "award entries equal the bonus moved": """
        select wallet_id || '/' || version, format('bonus moved by %s, awards by %s', d_bonus, coalesce(e.moved, 0))
        from journal j left join (select wallet_id, version, sum(d_remaining) as moved from award_entry
            where tenant_id = :tenant_id group by wallet_id, version) e using (wallet_id, version)
        where j.tenant_id = :tenant_id and coalesce(e.moved, 0) <> case j.op when 10 then 0 else j.d_bonus end""",
    "what was wagered is what was staked of an award": """
        select a.wallet_id || '/' || a.granted_version, format('wagered %s, staked %s', a.wagered_minor,
            coalesce(e.staked, 0))
        from award a left join (select e.wallet_id, e.granted_version, -sum(e.d_remaining) as staked
            from award_entry e join journal j using (tenant_id, wallet_id, version)
            where e.tenant_id = :tenant_id and j.op in (1, 3) group by 1, 2) e using (wallet_id, granted_version)
        where a.tenant_id = :tenant_id and a.wagered_minor <> coalesce(e.staked, 0)""",
    "bonus becomes real without the house": """
        select wallet_id || '/' || version, format('turned (%s,%s,%s,%s)', d_real, d_bonus, d_held, d_debt)
        from journal where tenant_id = :tenant_id and op = 13 and (d_counter <> 0 or d_bonus >= 0 or d_held <> 0)""",
    # The other way round is no fault: the mark stays when the award is used up, and costs a look-up.
    "an open award is marked": """
        select w.wallet_id::text, 'has an open award and is not marked so' from wallet w
        where w.tenant_id = :tenant_id and not w.has_awards and exists (select from award a
            where a.tenant_id = w.tenant_id and a.wallet_id = w.wallet_id and a.remaining_minor > 0)""",
}


_MARKS: dict[str, str] = {
    "a wallet's status is its player's": """
        select w.wallet_id::text, case w.status when 1 then 'open, its player is not active'
            else 'blocked, its player is active' end
        from wallet w left join unnest(cast(:inactive as bigint[])) as p(player_id) using (player_id)
        where w.tenant_id = :tenant_id and (w.status = 1) <> (p.player_id is null)""",
    "a wallet's licence is its player's": """
        select w.wallet_id::text, format('under %L, its player is under %L', w.licence,
            coalesce(p.licence, (cast(:usual as text[]))[1]))
        from wallet w left join unnest(cast(:players as bigint[]), cast(:licences as text[]))
            as p(player_id, licence) using (player_id)
        where w.tenant_id = :tenant_id and w.licence <> coalesce(p.licence, (cast(:usual as text[]))[1])""",
    # The other way round is no fault: the mark stays when the last limit is removed, and costs a look-up.
    "a limited wallet is marked": """
        select l.wallet_id::text, 'has a limit and is not marked so, which postings go by'
        from unnest(cast(:limited as bigint[])) as l(wallet_id)
        left join wallet w on w.tenant_id = :tenant_id and w.wallet_id = l.wallet_id
        where w.has_limits is not true""",
}


_AWARDS = """
    with terms as (
        select t.*, j.wallet_id as booked_on, j.version as granted_version, j.d_bonus as granted
        from unnest(cast(:reference as text[]), cast(:wallet_id as bigint[]), cast(:amount_minor as bigint[]),
                cast(:required_minor as bigint[]), cast(:expires_at as timestamptz[]), cast(:ended_at as timestamptz[]))
            as t(reference, wallet_id, amount, required, expires_at, ended_at)
        join journal j on j.tenant_id = :tenant_id and j.op = 10 and j.reference = t.reference
    ), moves as (
        select t.*, e.version, e.d_remaining, j.op, j.created_at,
            sum(case when j.op in (1, 3) then -e.d_remaining else 0 end) over
                (partition by t.wallet_id, t.granted_version order by e.version) as staked
        from terms t
        join award_entry e on e.tenant_id = :tenant_id and e.wallet_id = t.wallet_id
            and e.granted_version = t.granted_version
        join journal j on j.tenant_id = :tenant_id and j.wallet_id = e.wallet_id and j.version = e.version
    )
    select 'an award is booked as it was ordered', wallet_id || '/' || granted_version,
        format('ordered %s for wallet %s, booked %s on wallet %s', amount, wallet_id, granted, booked_on)
    from terms where amount <> granted or wallet_id <> booked_on
    union all
    select 'an award has its terms', j.wallet_id || '/' || j.version, 'bonus money was given and nobody ordered it'
    from journal j join source s on s.tenant_id = :tenant_id and s.source_id = j.source_id and s.name = 'bonus'
    left join unnest(cast(:reference as text[])) as t(reference) on t.reference = j.reference
    where j.tenant_id = :tenant_id and j.op = 10 and t.reference is null
    union all
    select 'nothing is staked of an award that has ended', wallet_id || '/' || version,
        format('staked %s at %s, it ended at %s', -d_remaining, created_at, expires_at)
    from moves where op = 1 and d_remaining < 0 and created_at >= expires_at
    union all
    select 'bonus becomes real when enough was staked', wallet_id || '/' || version,
        format('%s of %s were staked', staked, required)
    from moves where op = 13 and staked < required
    union all
    select 'what is left of an award is taken back', t.wallet_id || '/' || t.granted_version,
        format('%s left since %s', a.remaining_minor, t.ended_at)
    from terms t join award a on a.tenant_id = :tenant_id and a.wallet_id = t.wallet_id
        and a.granted_version = t.granted_version
    where a.remaining_minor > 0 and t.ended_at < now() - interval '1 hour'
"""
"""What awards are held against; the terms are another room's, and are handed in."""


async def verify_tenant(
    session: AsyncSession, scope: TenantScope, progress: Callable[[str], None] = lambda _check: None
) -> Verification:
    """Run every check over one tenant; the transaction must be REPEATABLE READ, so that all see one moment."""
    await _plan_for_whole_tables(session)
    findings: list[Finding] = []
    for check, statement in _CHECKS.items():
        progress(check)
        findings += await _run(session, scope, check, statement, {})
    counts = await session.execute(
        text(
            "select (select count(*) from wallet where tenant_id = :tenant_id),"
            " (select count(*) from journal where tenant_id = :tenant_id)"
        ),
        {"tenant_id": scope.tenant_id},
    )
    wallets, bookings = counts.one()
    return Verification(1, int(wallets), int(bookings), tuple(findings))


async def verify_wallet_marks(
    session: AsyncSession,
    scope: TenantScope,
    *,
    inactive_players: Sequence[int],
    limited_wallets: Sequence[int],
    licences: tuple[str, Mapping[int, str]],
) -> list[Finding]:
    """Hold what wallets are marked with against what other rooms know, read in the same snapshot.

    `inactive_players` are all players who may not play, `limited_wallets` all wallets that have a limit, `licences` the
    usual licence and that of every player who is under another.
    """
    await _plan_for_whole_tables(session)
    usual, others = licences
    facts: dict[str, list[Any]] = {
        "inactive": list(inactive_players),
        "limited": list(limited_wallets),
        "usual": [usual],
        "players": list(others),
        "licences": list(others.values()),
    }
    findings: list[Finding] = []
    for check, statement in _MARKS.items():
        named = {name: numbers for name, numbers in facts.items() if f":{name} " in statement}
        findings += await _run(session, scope, check, statement, named)
    return findings


async def verify_awards(session: AsyncSession, scope: TenantScope, claims: Sequence[AwardClaim]) -> list[Finding]:
    """Hold what was booked of awards against their terms, read in the same snapshot."""
    await _plan_for_whole_tables(session)
    facts = {name: [getattr(claim, name) for claim in claims] for name in AwardClaim.__struct_fields__}
    rows = await session.execute(text(_AWARDS), {"tenant_id": scope.tenant_id, **facts})
    return [Finding(scope.tenant_id, check, subject, detail) for check, subject, detail in rows.fetchmany(100)]


async def keep_proof(session: AsyncSession, scope: TenantScope, outcome: ProofOutcome) -> None:
    """Write down how a tenant's proof came out, in place of the one before; an older one changes nothing."""
    statement = insert(ProofRow).values(
        tenant_id=scope.tenant_id, proven_at=outcome.proven_at, findings=outcome.findings
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id"],
            set_={"proven_at": statement.excluded.proven_at, "findings": statement.excluded.findings},
            where=ProofRow.proven_at <= statement.excluded.proven_at,
        )
    )


async def find_proof(session: AsyncSession, scope: TenantScope) -> ProofOutcome | None:
    """Return how a tenant's last proof came out, or None while there was none."""
    row = await session.get(ProofRow, scope.tenant_id, populate_existing=True)
    return None if row is None else ProofOutcome(row.proven_at, row.findings)


async def _run(
    session: AsyncSession, scope: TenantScope, check: str, statement: str, values: Mapping[str, Sequence[Any]]
) -> list[Finding]:
    rows = await session.execute(text(statement), {"tenant_id": scope.tenant_id, **values})
    return [Finding(scope.tenant_id, check, str(subject), str(detail)) for subject, detail in rows.fetchmany(100)]


async def _plan_for_whole_tables(session: AsyncSession) -> None:
    """Read tables whole and join them by hash or merge, whatever is known about them.

    A table that was never analyzed is taken for a small one, and going through a large one row by row takes hours.
    """
    for setting, value in _PLANS.items():
        await session.execute(text("select set_config(:setting, :value, true)"), {"setting": setting, "value": value})


_PLANS = {"enable_nestloop": "off", "jit": "off", "work_mem": "64MB"}
