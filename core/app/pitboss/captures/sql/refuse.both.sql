-- Captures only grow, and a table of which events must tell is not emptied at once.

create function capture_refuse() returns trigger language plpgsql as $$
begin
    raise exception '% of % refused: it would leave no capture, or take one away', tg_op, tg_table_name
        using errcode = 'restrict_violation';
end
$$;

create trigger append_only before update or delete or truncate on capture
    for each statement execute function capture_refuse();
