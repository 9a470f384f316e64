-- Partitions of job, finished_job and attempt: ranges of ids, the same ranges for all three, about 28 over the
-- retention. The functions here make, drop and merge them. They are `security definer` of the migrating role, since
-- the service's role owns nothing, and take ids and names from job_partition only, never from their caller.
--
-- Locks. Making one takes no lock that a reader or an insert would wait for (`create like` + `attach`, and there is no
-- default partition to be scanned). Dropping one takes ACCESS EXCLUSIVE on the parents: it waits for every reader,
-- with all inserts behind it. So all of them give up after 100 ms (55P03) and the caller tries again later.

-- Bodies above 2 kB compress better and faster with lz4, where the server was built with it.
do $$
begin
    if (select 'lz4' = any (enumvals) from pg_settings where name = 'default_toast_compression') then
        alter table job alter column payload set compression lz4;
        alter table finished_job alter column output set compression lz4;
        alter table attempt alter column message set compression lz4, alter column stack set compression lz4;
    end if;
end $$;

create table job_partition (
    name     text primary key,
    from_id  uuid not null,
    to_id    uuid not null,
    leftover bool not null default false,
    constraint "a partition is a range of ids" check (from_id < to_id),
    -- Names become names of tables in functions that run with their owner's rights.
    constraint "a name is the digits of a time" check (name ~ '^[0-9]{12}$')
);
comment on table job_partition is 'The ranges that exist; each is three partitions: job_<name>, finished_job_<name>, attempt_<name>.';
comment on column job_partition.leftover is 'It was rewritten by merge_partitions: it holds little more than the jobs that outlived the retention.';
create unique index job_partition_from_id on job_partition (from_id);

create table retention_sweep (
    only_row   bool primary key default true,
    started_at timestamptz not null default '-infinity',
    constraint "there is one row" check (only_row)
);
comment on table retention_sweep is 'When a server last began to sweep: the others leave that minute to it.';
insert into retention_sweep default values;

-- What the three functions have in common: one at a time, and none waits long for the others.
create function lock_job_partitions() returns void language sql as $$
    select pg_advisory_xact_lock(hashtextextended('jobqueue.job_partition', 0))
$$;

-- Makes the partitions that hold the time from `behind` widths before now to `ahead` widths after the present one.
-- Where ranges of another width exist it fills the gaps between them. Returns how many it made.
create function ensure_partitions(width interval, behind int4, ahead int4) returns int4
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    seconds int8 := extract(epoch from width);
    slot    int8;
    low     uuid;
    high    uuid;
    stop    uuid;
    label   text;
    base    text;
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
        select p.to_id into high from job_partition p where p.from_id <= low and p.to_id > low;
        if found then
            low := high;
            continue;
        end if;
        if not locked then
            -- Somebody may have made it meanwhile: look again.
            perform lock_job_partitions();
            locked := true;
            continue;
        end if;
        high := uuid_at(to_timestamp((floor(extract(epoch from uuid_time(low)) / seconds) + 1) * seconds));
        high := least(high, (select p.from_id from job_partition p where p.from_id > low order by p.from_id limit 1));
        label := to_char(uuid_time(low) at time zone 'UTC', 'YYYYMMDDHH24MI');
        foreach base in array array['job', 'finished_job', 'attempt'] loop
            execute format('create table %I (like %I including all)', base || '_' || label, base);
            execute format('alter table %I attach partition %I for values from (%L) to (%L)', base, base || '_' || label, low, high);
        end loop;
        insert into job_partition (name, from_id, to_id) values (label, low, high);
        made := made + 1;
        low := high;
    end loop;
    return made;
end $$;

-- Whether a range of ids may go: 'live' where one of its jobs has not ended, 'recent' where one ended within the
-- retention, 'progress' where rows of job_progress are still to be deleted, else 'expired'. In this order: a job that
-- ends between the first two looks is seen by the first.
create function partition_fate(low uuid, high uuid, retention interval) returns text
language plpgsql as $$
begin
    if retention is null or retention < interval '0' then
        raise invalid_parameter_value using message = format('retention %s is not a length of time', retention);
    elsif exists (select from live_job l where l.id >= low and l.id < high) then
        return 'live';
    elsif exists (select from finished_job f where f.id >= low and f.id < high and f.finished_at >= now() - retention) then
        return 'recent';
    elsif exists (select from job_progress p where p.job_id >= low and p.job_id < high) then
        return 'progress';
    end if;
    return 'expired';
end $$;

-- Drops a partition that holds nothing worth keeping. Returns 'dropped', or why not: 'unknown', 'young' (its ids are
-- within the retention, so that jobs may still come), or partition_fate. It looks twice, the second time under a lock
-- that keeps every writer out of this range: a RetryJob needs the finished row, a late enqueue the partition of job.
create function drop_partition(partition text, retention interval) returns text
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    p    job_partition;
    fate text;
    base text;
begin
    perform lock_job_partitions();
    select * into p from job_partition j where j.name = partition;
    if not found then
        return 'unknown';
    end if;
    fate := partition_fate(p.from_id, p.to_id, retention);
    if fate <> 'expired' then
        return fate;
    elsif p.to_id > uuid_at(now() - retention) then
        return 'young';
    end if;
    foreach base in array array['job', 'finished_job', 'attempt'] loop
        execute format('lock table %I in share row exclusive mode', base || '_' || p.name);
    end loop;
    fate := partition_fate(p.from_id, p.to_id, retention);
    if fate <> 'expired' then
        return fate;
    end if;
    lock table only job, only finished_job, only attempt in access exclusive mode;
    foreach base in array array['job', 'finished_job', 'attempt'] loop
        execute format('drop table %I', base || '_' || p.name);
    end loop;
    delete from job_partition j where j.name = p.name;
    return 'dropped';
end $$;

-- Replaces two neighbours (or one, named twice) by one partition with what is worth keeping of them: the jobs that
-- have not ended and those that ended within the retention. Few rows are copied instead of many deleted, under locks
-- that keep writers out of these old ranges only; the parents are locked for the exchange alone.
-- Returns 'merged', or why not: 'unknown', 'young', or 'too many': more than max_rows jobs or max_bytes of bodies.
create function merge_partitions(elder text, younger text, retention interval, max_rows int4, max_bytes int8) returns text
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    a     job_partition;
    b     job_partition;
    kept  uuid[];
    bytes numeric;
    base  text;
    key   text;
    fresh text;
    old   text;
begin
    perform lock_job_partitions();
    select * into a from job_partition j where j.name = elder;
    select * into b from job_partition j where j.name = younger;
    if a.name is null or b.name is null then
        return 'unknown';
    elsif a.from_id > b.from_id
        or exists (select from job_partition j where j.from_id > a.from_id and j.from_id < b.from_id) then
        raise invalid_parameter_value using message = format('partition %s is not the elder neighbour of %s', elder, younger);
    elsif retention is null or retention < interval '0' or max_rows is null or max_bytes is null then
        raise invalid_parameter_value using message = 'retention, max_rows and max_bytes must be given';
    elsif b.to_id > uuid_at(now() - retention) then
        return 'young';
    end if;
    foreach base in array array['job', 'finished_job', 'attempt'] loop
        foreach old in array array[a.name, b.name] loop
            execute format('lock table %I in share row exclusive mode', base || '_' || old);
        end loop;
    end loop;
    select array_agg(k.id) into kept from (
        select l.id from live_job l where l.id >= a.from_id and l.id < b.to_id
        union all
        select f.id from finished_job f
        where f.id >= a.from_id and f.id < b.to_id and f.finished_at >= now() - retention
        limit max_rows + 1
    ) k;
    kept := coalesce(kept, '{}');
    if cardinality(kept) > max_rows then
        return 'too many';
    end if;
    -- pg_column_size reads the size of a body that is stored out of line without fetching it.
    select sum(s.bytes) into bytes from (
        select pg_column_size(j.payload) from job j
        where j.id = any (kept) and j.id >= a.from_id and j.id < b.to_id
        union all
        select pg_column_size(f.output) from finished_job f
        where f.id = any (kept) and f.id >= a.from_id and f.id < b.to_id
        union all
        select coalesce(pg_column_size(t.message), 0) + coalesce(pg_column_size(t.stack), 0) from attempt t
        where t.job_id = any (kept) and t.job_id >= a.from_id and t.job_id < b.to_id
    ) s (bytes);
    if bytes > max_bytes then
        return 'too many';
    end if;
    foreach base in array array['job', 'finished_job', 'attempt'] loop
        key := case base when 'attempt' then 'job_id' else 'id' end;
        fresh := base || '_' || a.name || '_new';
        execute format('create table %I (like %I including all)', fresh, base);
        execute format('insert into %I select * from %I where %I = any ($1) and %I >= $2 and %I < $3', fresh, base, key, key, key)
            using kept, a.from_id, b.to_id;
        -- Proves the range now, so that attach need not read the rows while it holds everybody up.
        execute format('alter table %I add constraint in_range check (%I >= %L and %I < %L)', fresh, key, a.from_id, key, b.to_id);
    end loop;
    delete from job_progress p
    where p.job_id >= a.from_id and p.job_id < b.to_id and not exists (select from unnest(kept) k where k = p.job_id);
    lock table only job, only finished_job, only attempt in access exclusive mode;
    foreach base in array array['job', 'finished_job', 'attempt'] loop
        fresh := base || '_' || a.name || '_new';
        execute format('drop table %I', base || '_' || a.name);
        execute format('drop table if exists %I', base || '_' || b.name);
        execute format('alter table %I rename to %I', fresh, base || '_' || a.name);
        execute format('alter table %I attach partition %I for values from (%L) to (%L)', base, base || '_' || a.name, a.from_id, b.to_id);
        execute format('alter table %I drop constraint in_range', base || '_' || a.name);
    end loop;
    delete from job_partition j where j.name in (a.name, b.name);
    insert into job_partition (name, from_id, to_id, leftover) values (a.name, a.from_id, b.to_id, true);
    return 'merged';
end $$;

do $$
declare
    definer regprocedure;
begin
    -- A function that runs with its owner's rights looks names up in the schema it was made in, and nowhere else.
    -- The service's role is granted these by name; nobody else is.
    foreach definer in array array[
        'ensure_partitions(interval, int4, int4)'::regprocedure,
        'drop_partition(text, interval)'::regprocedure,
        'merge_partitions(text, text, interval, int4, int8)'::regprocedure
    ] loop
        execute format('alter function %s set search_path = %I, pg_temp', definer, current_schema());
        execute format('revoke execute on function %s from public', definer);
    end loop;
end $$;

select ensure_partitions('6 hours', 1, 2);
