-- Guards of the ledger: they hold even when the code that decides is wrong.

create function ledger_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end
$$;

create trigger append_only before update or delete or truncate on journal
    for each statement execute function ledger_refuse_change();
create trigger append_only before update or delete or truncate on call_key
    for each statement execute function ledger_refuse_change();
create trigger append_only before update or delete or truncate on batch
    for each statement execute function ledger_refuse_change();
create trigger append_only before update or delete or truncate on award_entry
    for each statement execute function ledger_refuse_change();

create function ledger_check_new_wallet() returns trigger language plpgsql as $$
begin
    if new.version <> 0 or new.real_minor <> 0 or new.bonus_minor <> 0 or new.held_minor <> 0 or new.debt_minor <> 0
    then
        raise exception 'a wallet opens empty' using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create trigger opens_empty before insert on wallet
    for each row execute function ledger_check_new_wallet();

-- The journal moves the wallets. Nobody may update a balance: this function does, as the tables' owner and under
-- the caller's signed context, and only so: the rows of a statement continue each wallet from where it stands,
-- version by version, by exactly their deltas. A row that does not fit, or has no wallet, refuses the statement; to a
-- caller whose decision was overtaken that is a failed serialization.
create function ledger_move_wallets() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    refused bigint;
begin
    with chain as materialized (
        select b.tenant_id, b.wallet_id, b.version, b.real_after, b.bonus_after, b.held_after, b.debt_after,
            lead(b.version) over upward is null as is_last,
            max(b.bonus_after) over upward > 0 as had_bonus,
            coalesce(b.version = lag(b.version) over upward + 1
                and b.real_after - b.d_real = lag(b.real_after) over upward
                and b.bonus_after - b.d_bonus = lag(b.bonus_after) over upward
                and b.held_after - b.d_held = lag(b.held_after) over upward
                and b.debt_after - b.d_debt = lag(b.debt_after) over upward, true) as continues,
            first_value(b.version - 1) over upward as version_before,
            first_value(b.real_after - b.d_real) over upward as real_before,
            first_value(b.bonus_after - b.d_bonus) over upward as bonus_before,
            first_value(b.held_after - b.d_held) over upward as held_before,
            first_value(b.debt_after - b.d_debt) over upward as debt_before
        from booked b
        window upward as (partition by b.tenant_id, b.wallet_id order by b.version)
    ), moved as (
        update public.wallet w
        set version = n.version, real_minor = n.real_after, bonus_minor = n.bonus_after, held_minor = n.held_after,
            debt_minor = n.debt_after, has_awards = w.has_awards or n.had_bonus
        from chain n
        where n.is_last and w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id
            and w.version = n.version_before and w.real_minor = n.real_before and w.bonus_minor = n.bonus_before
            and w.held_minor = n.held_before and w.debt_minor = n.debt_before
        returning 1
    )
    select count(*) filter (where not continues) + count(*) filter (where is_last) - (select count(*) from moved)
    into refused from chain;
    if refused <> 0 then
        raise exception '% booked rows do not continue their wallets', refused using errcode = 'serialization_failure';
    end if;
    return null;
end
$$;

revoke all on function ledger_move_wallets() from public;

create trigger moves_wallets after insert on journal referencing new table as booked
    for each statement execute function ledger_move_wallets();

-- What a decision on a wallet depends on, beside its money, changes only with a row of the journal that moves nothing
-- and takes the wallet's next version: a posting that was decided before does not fit any more. The row comes before
-- the wallet, as with every posting, so that the two never wait for each other.
create function ledger_change_terms(its_tenant bigint, its_wallet bigint, new_status smallint, limited boolean,
    closes boolean, new_closed_until timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    attempt int := 0;
begin
    loop
        begin
            insert into public.journal (tenant_id, wallet_id, version, op, account_id, source_id, d_real, d_bonus,
                d_held, d_debt, real_after, bonus_after, held_after, debt_after, reference, batch_id)
            select w.tenant_id, w.wallet_id, w.version + 1, 12, 0, 0, 0, 0, 0, 0, w.real_minor, w.bonus_minor,
                w.held_minor, w.debt_minor, '', 0
            from public.wallet w where w.tenant_id = its_tenant and w.wallet_id = its_wallet;
            if not found then
                raise exception 'there is no such wallet' using errcode = 'no_data_found';
            end if;
            update public.wallet w
            set status = coalesce(new_status, w.status), has_limits = coalesce(limited, w.has_limits),
                closed_until = case when closes then new_closed_until else w.closed_until end
            where w.tenant_id = its_tenant and w.wallet_id = its_wallet;
            return;
        exception when unique_violation or serialization_failure then
            attempt := attempt + 1;
            if attempt = 100 then
                raise;
            end if;
        end;
    end loop;
end
$$;

revoke all on function ledger_change_terms(bigint, bigint, smallint, boolean, boolean, timestamptz) from public;
grant execute on function ledger_change_terms(bigint, bigint, smallint, boolean, boolean, timestamptz)
    to pitboss_app, pitboss_worker;

-- What a composed statement was decided on still holds, or nothing of it happens.
create function ledger_expect(holds boolean) returns void language plpgsql as $$
begin
    if holds is not true then
        raise exception 'overtaken' using errcode = 'serialization_failure';
    end if;
end
$$;

-- A hold only ever resolves further, once it is resolved never again.
create function ledger_check_hold() returns trigger language plpgsql as $$
begin
    if old.state <> 1 or new.captured_minor < old.captured_minor or new.released_minor < old.released_minor then
        raise exception 'hold %/%/% is resolved already', old.tenant_id, old.wallet_id, old.opened_version
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create trigger resolves_once before update on hold
    for each row execute function ledger_check_hold();

-- Double entry made visible: one journal row as a debit line and a credit line per bucket that moved.
-- A credit to the player is a debit of the house account, and the other way round.
create view ledger_line with (security_invoker = true) as
select j.tenant_id, j.wallet_id, j.version, j.batch_id, j.created_at, j.account_id, j.op, b.bucket,
    s.side, case when s.side = 'player' then b.amount else -b.amount end as credit_minor
from journal j
cross join lateral (values ('real', j.d_real), ('bonus', j.d_bonus), ('held', j.d_held), ('debt', -j.d_debt))
    as b(bucket, amount)
cross join (values ('player'), ('house')) as s(side)
where b.amount <> 0;

grant select on ledger_line to pitboss_app, pitboss_worker;
