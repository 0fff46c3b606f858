-- Rows whose time is over are destroyed here and nowhere else: no login may delete them by itself.

-- The tables that lose rows: when the time of a row begins, whether its player's account must be closed, and what
-- must have ended before. Whatever is not here is not destroyed, whatever a plan says.
create function retention_life(which text, out began text, out needs_closed boolean, out has_ended text)
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select l.began, l.needs_closed, l.has_ended
    from (values
        ('round', 'x.updated_at', false, 'x.state <> 1'),
        ('game_session', 'greatest(x.opened_at, x.expires_at)', false, 'true'),
        ('exclusion', 'greatest(x.ends_at, x.lifted_from)', false, 'true'),
        ('play_time_limit', 'x.set_at', true, 'true')
    ) as l(name, began, needs_closed, has_ended)
    where l.name = which
$$;

-- Rows of a table, for players of one licence, with the moment from which their time counts and whether a hold keeps
-- them. A hold that was lifted after `holds_of` counts: what was held when a plan was counted is not in the plan.
create function retention_find(its_tenant bigint, its_table text, its_licence text, its_start text, holds_of timestamptz)
returns table (row_id tid, began_at timestamptz, held boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    life record;
begin
    select l.* into life from public.retention_life(its_table) l;
    if life.began is null then
        raise exception 'no schedule destroys rows of %', its_table using errcode = 'restrict_violation';
    end if;
    if its_start is null or its_start not in ('creation', 'account_closed') then
        raise exception 'time does not count from %', its_start using errcode = 'restrict_violation';
    end if;
    return query execute format(
        'select x.ctid, case when $3 and %2$s is not null then greatest(%2$s, p.closed_at) else %2$s end,
            exists (select from public.legal_hold h where h.tenant_id = $1
                and (h.lifted_at is null or h.lifted_at > $4)
                and (h.scope = 3 or h.scope = 2 and h.table_name = %4$L or h.scope = 1 and h.subject_id = p.public_id))
        from public.%1$I x join public.player p on p.tenant_id = x.tenant_id and p.player_id = x.player_id
        where x.tenant_id = $1 and p.licence = $2 and (p.closed_at is not null or not $3) and %3$s',
        its_table, life.began, life.has_ended, its_table)
    using its_tenant, its_licence, life.needs_closed or its_start = 'account_closed', holds_of;
end
$$;

-- Everything that an approver approves, out of what is stored; the application makes the same of what it showed.
create function retention_digest(its_tenant bigint, its_run uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select encode(sha256(convert_to(
        concat_ws(E'\n', r.run_id, r.schedule_version, r.proposed_by,
            (extract(epoch from r.proposed_at) * 1000000)::bigint,
            (select string_agg(concat_ws('|', s.step, s.table_name, s.licence, s.counts_from,
                (extract(epoch from s.cutoff_at) * 1000000)::bigint, s.rows_due), E'\n' order by s.step)
            from public.retention_step s where s.tenant_id = r.tenant_id and s.run_id = r.run_id)),
        'UTF8')), 'hex')
    from public.retention_run r where r.tenant_id = its_tenant and r.run_id = its_run
$$;

-- Destroy at most so many rows of one step of an approved plan; return how many went. The plan must be what was
-- approved, by somebody else than who proposed it, and at most a week old; rows that are held by now stay.
create function retention_destroy(its_tenant bigint, its_run uuid, its_step integer, most bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    plan record;
    part record;
    gone bigint;
begin
    select r.* into plan from public.retention_run r where r.tenant_id = its_tenant and r.run_id = its_run for update;
    if not found then
        raise exception 'there is no such plan' using errcode = 'no_data_found';
    end if;
    if plan.approved_by is null or plan.approved_by = plan.proposed_by or plan.finished_at is not null then
        raise exception 'the plan is not approved, or over' using errcode = 'restrict_violation';
    end if;
    if plan.proposed_at < now() - interval '7 days' or plan.proposed_at > now() + interval '5 minutes' then
        raise exception 'the plan is stale' using errcode = 'restrict_violation';
    end if;
    if plan.digest <> public.retention_digest(its_tenant, its_run) then
        raise exception 'the plan is not what was approved' using errcode = 'restrict_violation';
    end if;
    select s.* into part from public.retention_step s
    where s.tenant_id = its_tenant and s.run_id = its_run and s.step = its_step;
    if not found then
        raise exception 'there is no such step' using errcode = 'no_data_found';
    end if;
    execute format(
        'delete from public.%I x where x.tenant_id = $1 and x.ctid = any (array(
            select f.row_id from public.retention_find($1, $2, $3, $4, $5) f
            where f.began_at < $6 and not f.held limit $7))',
        part.table_name)
    using its_tenant, part.table_name, part.licence, part.counts_from, plan.proposed_at, part.cutoff_at, most;
    get diagnostics gone = row_count;
    -- A check of the table refuses more than was approved, and takes the rows back with it.
    update public.retention_step s
    set rows_destroyed = s.rows_destroyed + gone, finished_at = case when gone < most then clock_timestamp() end
    where s.tenant_id = its_tenant and s.run_id = its_run and s.step = its_step;
    return gone;
end
$$;

revoke all on function retention_destroy(bigint, uuid, integer, bigint) from public;
grant execute on function retention_destroy(bigint, uuid, integer, bigint) to pitboss_worker;

-- An approval and an ending are given once, and a hold is lifted once.
create function retention_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%: this was settled', tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger settled_once before update on retention_run
    for each row when (old.finished_at is not null or old.approved_at is not null
        and (new.approved_at, new.approved_by) is distinct from (old.approved_at, old.approved_by))
    execute function retention_refuse_change();
create trigger lifted_once before update on legal_hold
    for each row when (old.lifted_at is not null)
    execute function retention_refuse_change();
