-- A tile and a signed manifest never change; a segment's objects leave its row once, when they are stored.

create trigger append_only before update or delete or truncate on round_tile
    for each statement execute function audit_refuse_change();
create trigger append_only before delete or truncate on round_segment
    for each statement execute function audit_refuse_change();
create trigger append_only_row before update on round_segment
    for each row when (old.stored_at is not null
        -- Column by column: a row compared as a whole is written otherwise once it was dumped and restored.
        or new.tenant_id is distinct from old.tenant_id
        or new.number is distinct from old.number
        or new.first is distinct from old.first
        or new.size is distinct from old.size
        or new.opened_at is distinct from old.opened_at
        or new.closed_at is distinct from old.closed_at
        or new.manifest is distinct from old.manifest
        or new.stored_at is null or new.lines is not null or new.columns is not null)
    execute function audit_refuse_change();
