-- What changes in a table of which events must tell is captured beside the events, by whatever way it was written.
-- Arguments: the columns by which events call the row; those whose change alone nobody asks about. Triggers are
-- generated from the tables' declarations. Values stay where they are: only the names of columns are noted.

create function capture_note(was jsonb, made jsonb, what text, which text, key_columns text, quiet_columns text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    names text[];
begin
    select coalesce(array_agg(name order by name), '{}') into names
    from jsonb_object_keys(coalesce(made, was)) name where was -> name is distinct from made -> name;
    if what <> 'UPDATE' or not names <@ string_to_array(quiet_columns, ' ') then
        insert into public.capture (tenant_id, written_in, login, table_name, operation, row_key, changed)
        select (coalesce(made, was) ->> 'tenant_id')::bigint, pg_current_xact_id()::text::bigint, session_user,
            which, lower(what), coalesce(string_agg(coalesce(made, was) ->> name, ':' order by place), ''),
            case when what = 'UPDATE' then array_to_string(names, ' ') else '' end
        from unnest(string_to_array(key_columns, ' ')) with ordinality keys (name, place);
    end if;
end
$$;

create function capture_row() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    perform public.capture_note(to_jsonb(old), to_jsonb(new), tg_op, tg_table_name, tg_argv[0], tg_argv[1]);
    return null;
end
$$;

-- The same for whom row security does not hold: with their own rights, as the owner's need a tenant's context.
create function capture_row_unheld() returns trigger language plpgsql security invoker
set search_path = pg_catalog, pg_temp as $$
begin
    perform public.capture_note(to_jsonb(old), to_jsonb(new), tg_op, tg_table_name, tg_argv[0], tg_argv[1]);
    return null;
end
$$;
