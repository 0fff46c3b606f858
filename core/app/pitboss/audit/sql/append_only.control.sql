-- The log only grows: nobody rewrites, removes or empties it, whatever grants say.

create function audit_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end
$$;

create trigger append_only before update or delete or truncate on audit_event
    for each statement execute function audit_refuse_change();
