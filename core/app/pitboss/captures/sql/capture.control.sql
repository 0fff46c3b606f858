-- What changes in a table of which events must tell is captured beside the events, by whatever way it was written.
-- Arguments: the columns by which events call the row; those whose change alone nobody asks about. Triggers are
-- generated from the tables' declarations. Values stay where they are: only the names of columns are noted.

create function capture_row() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    was jsonb := to_jsonb(old);
    made jsonb := to_jsonb(new);
    names text[];
begin
    select coalesce(array_agg(name order by name), '{}') into names
    from jsonb_object_keys(coalesce(made, was)) name where was -> name is distinct from made -> name;
    if tg_op <> 'UPDATE' or not names <@ string_to_array(tg_argv[1], ' ') then
        insert into public.capture (written_in, login, table_name, operation, row_key, changed)
        select pg_current_xact_id()::text::bigint, session_user,
            tg_table_name, lower(tg_op), coalesce(string_agg(coalesce(made, was) ->> name, ':' order by place), ''),
            case when tg_op = 'UPDATE' then array_to_string(names, ' ') else '' end
        from unnest(string_to_array(tg_argv[0], ' ')) with ordinality keys (name, place);
    end if;
    return null;
end
$$;
