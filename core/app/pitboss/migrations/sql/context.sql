-- The signed tenant context (security design, section 6.2). Everything here belongs to pitboss_ctx.
-- Token: key_id.tenant,tenant,….backend_pid.expiry_epoch.hmac_sha256_hex over all that stands before the last dot.
-- HMAC is computed from sha256() with both padded keys stored, so that no extension is needed.
-- Parallel restricted: a parallel worker has another process id, and would see no tenant at all.

create table if not exists ctx.key (
    key_id text primary key check (key_id ~ '^[a-z0-9]{1,16}$'),
    inner_pad bytea not null check (length(inner_pad) = 64),
    outer_pad bytea not null check (length(outer_pad) = 64),
    valid_until timestamptz not null
);

-- Tenants that have left this cell, or are leaving it: nobody but who moves them and who logs reads or writes a row of
-- theirs, whatever a process that has not heard of it believes. An administrator writes this, no login of ours may.
create table if not exists ctx.frozen (tenant_id bigint primary key);

create or replace function ctx.tenants() returns bigint[]
language plpgsql stable security definer parallel restricted
set search_path = pg_catalog, pg_temp
as $$
declare
    token text := current_setting('pitboss.ctx', true);
    part text[] := string_to_array(token, '.');
    inner_block bytea;
    outer_block bytea;
    some_frozen boolean;
    named bigint[];
    served bigint[];
begin
    if part[3] = pg_backend_pid()::text and cardinality(part) = 5 then
        select k.inner_pad, k.outer_pad, exists (select from ctx.frozen)
        into inner_block, outer_block, some_frozen
        from ctx.key k where k.key_id = part[1] and k.valid_until > statement_timestamp();
        if encode(sha256(outer_block || sha256(inner_block || convert_to(left(token, -65), 'UTF8'))), 'hex') = part[5]
            and part[4]::bigint > extract(epoch from clock_timestamp())
        then
            named := string_to_array(nullif(part[2], ''), ',')::bigint[];
            if some_frozen and not pg_has_role(session_user, 'pitboss_seq', 'usage') then
                served := array(select n from unnest(named) n where n not in (select f.tenant_id from ctx.frozen f));
                if named <> '{}' and served = '{}' then
                    -- An answer out of empty tables would be a wrong one: "try again" it is.
                    raise exception 'the tenant is not served here' using errcode = 'cannot_connect_now';
                end if;
                return served;
            end if;
            return named;
        end if;
    end if;
    return null;
end
$$;

revoke all on ctx.key, ctx.frozen from public;
revoke all on function ctx.tenants() from public;
grant usage on schema ctx to pitboss_owner, pitboss_app, pitboss_worker, pitboss_relay, pitboss_seq, pitboss_platform;
grant execute on function ctx.tenants() to pitboss_owner, pitboss_app, pitboss_worker, pitboss_relay, pitboss_seq;
