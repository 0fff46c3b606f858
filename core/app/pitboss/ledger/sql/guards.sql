-- Guards of the ledger: they hold even when the code that decides is wrong. Each checks a whole statement at
-- once. A posting moves wallets and inserts journal rows in one statement, so both guards see the end of both.
-- Versions before and after are computed apart ("offset 0"): arithmetic is not leakproof, so inside a join
-- condition row-level security would keep it out of the index condition and whole wallets would be read.
-- Nor does a guard ask "exists": a plan made while a table is small may hash the whole of it.

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

-- A wallet stands exactly where the journal ends.
create function ledger_check_wallets() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select n.tenant_id, n.wallet_id, n.version into wrong
    from (select *, version + 1 as next_version from moved offset 0) n
    left join journal j on j.tenant_id = n.tenant_id and j.wallet_id = n.wallet_id and j.version = n.version
    left join journal f on f.tenant_id = n.tenant_id and f.wallet_id = n.wallet_id and f.version = n.next_version
    where j.version is null
        or j.real_after <> n.real_minor or j.bonus_after <> n.bonus_minor
        or j.held_after <> n.held_minor or j.debt_after <> n.debt_minor
        or f.version is not null
    limit 1;
    if found then
        raise exception 'wallet %/% at version % does not stand where the journal ends',
            wrong.tenant_id, wrong.wallet_id, wrong.version using errcode = 'check_violation';
    end if;
    return null;
end
$$;

create trigger stands_with_journal after update on wallet referencing new table as moved
    for each statement execute function ledger_check_wallets();

-- Each journal row continues the one before it by exactly its deltas, and its wallet has moved along.
create function ledger_check_journal() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select n.tenant_id, n.wallet_id, n.version into wrong
    from (select *, version - 1 as last_version from booked offset 0) n
    left join journal p on p.tenant_id = n.tenant_id and p.wallet_id = n.wallet_id and p.version = n.last_version
    left join wallet w on w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id
    where w.version is null or w.version < n.version
        or (p.version is null and n.version <> 1)
        or n.real_after <> coalesce(p.real_after, 0) + n.d_real
        or n.bonus_after <> coalesce(p.bonus_after, 0) + n.d_bonus
        or n.held_after <> coalesce(p.held_after, 0) + n.d_held
        or n.debt_after <> coalesce(p.debt_after, 0) + n.d_debt
    limit 1;
    if found then
        raise exception 'journal row %/%/% does not continue the one before it',
            wrong.tenant_id, wrong.wallet_id, wrong.version using errcode = 'check_violation';
    end if;
    return null;
end
$$;

create trigger continues_chain after insert on journal referencing new table as booked
    for each statement execute function ledger_check_journal();

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
