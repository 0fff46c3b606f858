-- The log only grows: nobody rewrites, removes or empties it, whatever grants say.

create function audit_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end
$$;

create trigger append_only before update or delete or truncate on audit_event
    for each statement execute function audit_refuse_change();

create trigger append_only before update or delete or truncate on audit_entry
    for each statement execute function audit_refuse_change();
create trigger append_only before update or delete or truncate on audit_tile
    for each statement execute function audit_refuse_change();
create trigger append_only before update or delete or truncate on audit_checkpoint
    for each statement execute function audit_refuse_change();
create trigger append_only before update or delete or truncate on audit_cosignature
    for each statement execute function audit_refuse_change();
create trigger append_only before update or delete or truncate on audit_seal
    for each statement execute function audit_refuse_change();

-- The sequencer takes events in the order of transactions, so whoever writes one may not choose its number.

create function audit_mark_transaction() returns trigger language plpgsql as $$
begin
    new.written_in := pg_current_xact_id()::text::bigint;
    return new;
end
$$;

create trigger mark_transaction before insert on audit_event
    for each row execute function audit_mark_transaction();
