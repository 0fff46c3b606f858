-- A cell's directory only grows: nothing is rewritten, and no version slips in behind a newer one.

create function directory_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end
$$;

create trigger append_only before update or delete or truncate on directory_snapshot
    for each statement execute function directory_refuse_change();

create function directory_check_version() returns trigger language plpgsql as $$
declare
    newest bigint := (select max(version) from directory_snapshot);
begin
    if new.version <= newest then
        raise exception 'directory snapshot % is not newer than %', new.version, newest
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create trigger only_newer before insert on directory_snapshot
    for each row execute function directory_check_version();
