-- Servers read what changed of queues, kinds and lanes, and no longer all of it each second; and lanes can be forgotten.

-- A log, written in the transaction that makes the change. A reader remembers the snapshot of its last read, and next reads the
-- rows whose transaction that snapshot did not see (store/catalog/sql/catalog_changes.sql). Numbers of a sequence would not do:
-- they commit out of order. A row says which lanes and kinds are to be read again; one that is not there then was forgotten.
create table catalog_change (
    changed       xid8 not null default pg_current_xact_id(),
    at            timestamptz not null default now(),
    lane_id       int4,
    queue_id      int4,
    kind_id       int4,
    lanes_of_kind int4
);
comment on table catalog_change is 'What changed of queues, kinds and lanes. Kept for a day; a server that read nothing for an hour reads all.';
comment on column catalog_change.changed is 'The transaction of the change.';
comment on column catalog_change.lane_id is 'A lane that was made, changed or forgotten.';
comment on column catalog_change.queue_id is 'A queue whose lanes are to be read again.';
comment on column catalog_change.kind_id is 'A kind that was seen, declared, changed or forgotten.';
comment on column catalog_change.lanes_of_kind is 'A kind whose lanes are to be read again: its limits or its weight changed.';
-- Serves the reads of all servers, each second.
create index catalog_change_changed on catalog_change (changed);
-- Serves the sweep.
create index catalog_change_at on catalog_change (at);

-- By triggers, since servers of before write these tables too. None of them is written while jobs pass.
create function catalog_changed() returns trigger
language plpgsql as $$
begin
    case tg_table_name
        when 'lane' then
            insert into catalog_change (lane_id) values (case tg_op when 'DELETE' then old.id else new.id end);
        when 'queue' then
            insert into catalog_change (queue_id) values (new.id);
        when 'queue_key' then
            insert into catalog_change (queue_id) values (case tg_op when 'DELETE' then old.queue_id else new.queue_id end);
        when 'kind' then
            insert into catalog_change (kind_id) values (case tg_op when 'DELETE' then old.id else new.id end);
    end case;
    return null;
end
$$;

create function lanes_of_kind_changed() returns trigger
language plpgsql as $$
begin
    insert into catalog_change (lanes_of_kind) values (new.id);
    return null;
end
$$;

-- How long a lane may be used after `used_at`: an enqueue later than that is refused by its own statement (lanes_in_use).
alter table lane add column used_at timestamptz not null default now();
comment on column lane.used_at is
    'When a server last made sure of it. Each statement that stores jobs refuses a lane of which none did so for a day.';

create trigger lane_came_or_went after insert or delete on lane
    for each row execute function catalog_changed();
create trigger lane_changed after update on lane
    for each row when (old.* is distinct from new.*) execute function catalog_changed();
create trigger queue_changed after update on queue
    for each row when (old.* is distinct from new.*) execute function catalog_changed();
-- An insert that meets the row it makes is an update, which changes nothing that the catalog knows.
create trigger queue_key_changed after insert or delete on queue_key
    for each row execute function catalog_changed();
create trigger kind_changed after insert or update or delete on kind
    for each row execute function catalog_changed();
create trigger kind_limits_changed after update on kind
    for each row when (
        (old.max_running, old.rate_count, old.rate_period_ms, old.rate_burst, old.slot_weight)
            is distinct from (new.max_running, new.rate_count, new.rate_period_ms, new.rate_burst, new.slot_weight)
    ) execute function lanes_of_kind_changed();

-- Ends a statement that would store a job in a lane that was forgotten, or that may be by now.
create function refuse_lanes() returns bool
language plpgsql volatile as $$
begin
    raise exception using errcode = 'JQ002', message = 'no server has made sure of this lane for a day';
end
$$;

-- Lanes are forgotten once no job of theirs can be left. Servers below level 13 do not keep to `used_at`, so what they may have
-- stored counts as of when the last of them was heard.
alter table retention_sweep add column older_heard_at timestamptz not null default now();
comment on column retention_sweep.older_heard_at is 'When a server was last heard that does not make sure of its lanes.';
