-- What was destroyed stays destroyed here: a key from an old copy is not put back, and a certificate is not rewritten.

create function keys_refuse_return() returns trigger language plpgsql as $$
begin
    raise exception '%: what was destroyed does not return', tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger no_return before update on subject_key
    for each row when (old.state = 3 and (new.state <> 3 or new.wrapped_key is not null))
    execute function keys_refuse_return();
create trigger no_return before update on key_epoch
    for each row when (new.state < old.state or (old.state <> 1 and new.wrapped_key is not null))
    execute function keys_refuse_return();
create trigger no_return before update on erasure
    for each row when (old.backups_closed_at is not null)
    execute function keys_refuse_return();
