-- The audit log: who did what to jobs, queues, kinds, keys and namespaces, and who was refused. Ranges of ids are ranges
-- of time, as of jobs, with a width and a retention of their own: the functions here make and drop them.

create table audit (
    id           uuid not null,
    namespace_id int4,
    principal    text not null,
    credential   text not null,
    address      inet,
    transport    text not null,
    request_id   text not null,
    action       text not null,
    object       text not null,
    reason       text not null,
    outcome      text not null,
    details      jsonb not null,
    count        int4 not null,
    primary key (id),
    constraint "a row tells of one event at least" check (count > 0),
    constraint "details are an object" check (jsonb_typeof(details) = 'object')
) partition by range (id);
comment on table audit is 'Each audited call, written in the transaction of its change; refused calls, counted. Rows are never changed.';
comment on column audit.id is 'A UUID v7 of the database''s clock: uuid_time(id) is when it was, of several the first.';
comment on column audit.namespace_id is 'The namespace of what was changed, or of the caller that was refused; null: the caller is not known.';
comment on column audit.address is 'Whence the call came, as this service sees it; null: from nowhere.';
comment on column audit.action is 'The name of the method, such as RevokeKey.';
comment on column audit.object is 'What it was done to, such as key: and an id; empty: it is not known.';
comment on column audit.outcome is 'OK, or the reason of the refusal.';
comment on column audit.count is 'How many events alike the row stands for; what differs is of the first.';
-- Serves ListAudit in one namespace.
create index audit_by_namespace on audit (namespace_id, id);

create table audit_partition (
    name    text primary key,
    from_id uuid not null,
    to_id   uuid not null,
    constraint "an audit partition is a range of ids" check (from_id < to_id),
    -- Names become names of tables in functions that run with their owner's rights.
    constraint "an audit partition's name is the digits of a time" check (name ~ '^[0-9]{12}$')
);
comment on table audit_partition is 'The ranges of the audit log that exist; each is a partition audit_<name>.';
create unique index audit_partition_from_id on audit_partition (from_id);

create function lock_audit_partitions() returns void language sql as $$
    select pg_advisory_xact_lock(hashtextextended('jobqueue.audit_partition', 0))
$$;

-- Makes the partitions that hold the time from `behind` widths before now to `ahead` widths after the present one.
-- Where ranges of another width exist it fills the gaps between them. Returns how many it made. As with jobs, none of it
-- takes a lock that a reader or an insert would wait for.
create function ensure_audit_partitions(width interval, behind int4, ahead int4) returns int4
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    seconds int8 := extract(epoch from width);
    slot    int8;
    low     uuid;
    high    uuid;
    stop    uuid;
    label   text;
    made    int4 := 0;
    locked  bool := false;
begin
    if seconds < 60 or seconds % 60 <> 0 or behind not between 0 and 1000 or ahead not between 0 and 1000 then
        raise invalid_parameter_value using message = format(
            'width %s, behind %s, ahead %s: the width is whole minutes, the others 0 to 1000', width, behind, ahead);
    end if;
    slot := floor(extract(epoch from now()) / seconds);
    low := uuid_at(to_timestamp((slot - behind) * seconds));
    stop := uuid_at(to_timestamp((slot + ahead + 1) * seconds));
    while low < stop loop
        select p.to_id into high from audit_partition p where p.from_id <= low and p.to_id > low;
        if found then
            low := high;
            continue;
        end if;
        if not locked then
            -- Another server may have made it meanwhile: look again.
            perform lock_audit_partitions();
            locked := true;
            continue;
        end if;
        high := uuid_at(to_timestamp((floor(extract(epoch from uuid_time(low)) / seconds) + 1) * seconds));
        high := least(high, (select p.from_id from audit_partition p where p.from_id > low order by p.from_id limit 1));
        label := to_char(uuid_time(low) at time zone 'UTC', 'YYYYMMDDHH24MI');
        execute format('create table %I (like audit including all)', 'audit_' || label);
        execute format('alter table audit attach partition %I for values from (%L) to (%L)', 'audit_' || label, low, high);
        insert into audit_partition (name, from_id, to_id) values (label, low, high);
        made := made + 1;
        low := high;
    end loop;
    return made;
end $$;

-- Drops the oldest partition if all of it is older than the retention. Returns its name, or null: there is none. The
-- service's role may call it, so it refuses what would hide the last 30 days.
create function drop_audit_partition(retention interval) returns text
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    p audit_partition;
begin
    if retention is null or retention < interval '30 days' then
        raise invalid_parameter_value using message = format('retention %s: the audit log is kept for 30 days at least', retention);
    end if;
    perform lock_audit_partitions();
    select * into p from audit_partition a where a.to_id <= uuid_at(now() - retention) order by a.from_id limit 1;
    if not found then
        return null;
    end if;
    lock table only audit in access exclusive mode;
    execute format('drop table %I', 'audit_' || p.name);
    delete from audit_partition a where a.name = p.name;
    return p.name;
end $$;

do $$
declare
    definer regprocedure;
begin
    -- As in 0002: a function that runs with its owner's rights looks names up in the schema it was made in, and nowhere
    -- else. The service's role is granted these by name, and no other role is.
    foreach definer in array array[
        'ensure_audit_partitions(interval, int4, int4)'::regprocedure,
        'drop_audit_partition(interval)'::regprocedure
    ] loop
        execute format('alter function %s set search_path = %I, pg_temp', definer, current_schema());
        execute format('revoke execute on function %s from public', definer);
    end loop;
end $$;

-- A 28th of 400 days, in whole minutes, as servers take it by default.
select ensure_audit_partitions(interval '20572 minutes', 1, 2);
