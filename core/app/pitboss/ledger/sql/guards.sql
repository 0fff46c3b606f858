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
-- version by version, by exactly their deltas. A row that does not fit, or has no wallet, refuses the statement.
create function ledger_move_wallets() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    wanted bigint;
    moved bigint;
begin
    select count(*) into wanted from (select distinct tenant_id, wallet_id from booked) d;
    update public.wallet w
    set version = n.version, real_minor = n.real_after, bonus_minor = n.bonus_after, held_minor = n.held_after,
        debt_minor = n.debt_after, has_awards = w.has_awards or n.bonus_after > 0
    from (
        select c.tenant_id, c.wallet_id, c.version, c.real_after, c.bonus_after, c.held_after, c.debt_after,
            row_number() over (partition by c.tenant_id, c.wallet_id order by c.version desc) as from_end,
            bool_and(c.continues) over chain as continues,
            first_value(c.version - 1) over chain as version_before,
            first_value(c.real_before) over chain as real_before,
            first_value(c.bonus_before) over chain as bonus_before,
            first_value(c.held_before) over chain as held_before,
            first_value(c.debt_before) over chain as debt_before
        from (
            select b.*, coalesce(b.version = lag(b.version) over upward + 1
                    and b.real_before = lag(b.real_after) over upward
                    and b.bonus_before = lag(b.bonus_after) over upward
                    and b.held_before = lag(b.held_after) over upward
                    and b.debt_before = lag(b.debt_after) over upward, true) as continues
            from (
                select *, real_after - d_real as real_before, bonus_after - d_bonus as bonus_before,
                    held_after - d_held as held_before, debt_after - d_debt as debt_before
                from booked
            ) b
            window upward as (partition by b.tenant_id, b.wallet_id order by b.version)
        ) c
        window chain as (partition by c.tenant_id, c.wallet_id order by c.version
            rows between unbounded preceding and unbounded following)
    ) n
    where w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id and n.from_end = 1 and n.continues
        and w.version = n.version_before and w.real_minor = n.real_before and w.bonus_minor = n.bonus_before
        and w.held_minor = n.held_before and w.debt_minor = n.debt_before;
    get diagnostics moved = row_count;
    if moved <> wanted then
        raise exception '% of % wallets do not stand where the booked rows begin', wanted - moved, wanted
            using errcode = 'check_violation';
    end if;
    return null;
end
$$;

revoke all on function ledger_move_wallets() from public;

create trigger moves_wallets after insert on journal referencing new table as booked
    for each statement execute function ledger_move_wallets();

-- A hold opens untouched and only ever resolves further, once it is resolved never again.
create function ledger_check_hold() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        if new.state <> 1 or new.captured_minor <> 0 or new.released_minor <> 0 then
            raise exception 'a hold opens unresolved' using errcode = 'check_violation';
        end if;
    elsif old.state <> 1 or new.captured_minor < old.captured_minor or new.released_minor < old.released_minor then
        raise exception 'hold %/%/% is resolved already', old.tenant_id, old.wallet_id, old.opened_version
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create trigger resolves_once before insert or update on hold
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
