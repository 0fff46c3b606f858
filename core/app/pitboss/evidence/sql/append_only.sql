-- A tile and a signed manifest never change; a segment's objects leave its row once, when they are stored.

create trigger append_only before update or delete or truncate on round_tile
    for each statement execute function audit_refuse_change();
create trigger append_only before delete or truncate on round_segment
    for each statement execute function audit_refuse_change();
create trigger append_only_row before update on round_segment
    for each row when (old.stored_at is not null
        or (new.tenant_id, new.number, new.first, new.size, new.opened_at, new.closed_at, new.manifest)
            is distinct from (old.tenant_id, old.number, old.first, old.size, old.opened_at, old.closed_at, old.manifest)
        or new.stored_at is null or new.lines is not null or new.columns is not null)
    execute function audit_refuse_change();
