-- For how long a queue keeps jobs that have ended, by how they ended, where that is not as long as the server keeps all.
-- Kept shorter: they are swept out of partitions whose time is over (store/upkeep/sql/sweep_finished.sql). Kept longer: the
-- functions here neither drop nor leave them behind. Nulls cost no byte, and no row is rewritten.

alter table queue
    add column retention_succeeded interval,
    add column retention_failed_permanent interval,
    add column retention_cancelled interval,
    add constraint "a queue keeps what ended for 1 h to 3650 days" check (
        retention_succeeded between interval '1 hour' and interval '3650 days'
        and retention_failed_permanent between interval '1 hour' and interval '3650 days'
        and retention_cancelled between interval '1 hour' and interval '3650 days'
    );
comment on column queue.retention_succeeded is 'For how long a job that succeeded is kept. Null: as long as the server keeps all.';
comment on column queue.retention_failed_permanent is 'The same of one that failed for good.';
comment on column queue.retention_cancelled is 'The same of one that was cancelled.';

alter table job_partition
    add column swept_to uuid,
    add column swept_at timestamptz;
comment on column job_partition.swept_to is 'How far the sweep that goes on has come. Null: the next one begins anew.';
comment on column job_partition.swept_at is 'When the last sweep that came to the end of it ended. Null: none did.';

-- Null: as long as the server keeps all.
create function retention_of(q queue, status int2) returns interval language sql immutable as $$
    select case status
        when 3 then q.retention_succeeded
        when 5 then q.retention_failed_permanent
        when 6 then q.retention_cancelled
    end
$$;

-- As in 0002, and 'recent' also while it holds a job of a status that some queue keeps longer, and that is younger than that. It
-- may be of another queue: a sweep or a merge finds out. To ask here would read the job of every row. One plain look for
-- each status, so that those that did not succeed are found by their index.
create or replace function partition_fate(low uuid, high uuid, retention interval) returns text
language plpgsql as $$
declare
    longest queue;
begin
    if retention is null or retention < interval '0' then
        raise invalid_parameter_value using message = format('retention %s is not a length of time', retention);
    elsif exists (select from live_job l where l.id >= low and l.id < high) then
        return 'live';
    elsif exists (select from finished_job f where f.id >= low and f.id < high and f.finished_at >= now() - retention) then
        return 'recent';
    end if;
    longest := longest_retentions();
    if longest.retention_succeeded > retention and exists (
        select from finished_job f
        where f.id >= low and f.id < high and f.status = 3 and f.finished_at >= now() - longest.retention_succeeded
    ) then
        return 'recent';
    elsif longest.retention_failed_permanent > retention and exists (
        select from finished_job f
        where f.id >= low and f.id < high and f.status = 5 and f.finished_at >= now() - longest.retention_failed_permanent
    ) then
        return 'recent';
    elsif longest.retention_cancelled > retention and exists (
        select from finished_job f
        where f.id >= low and f.id < high and f.status = 6 and f.finished_at >= now() - longest.retention_cancelled
    ) then
        return 'recent';
    elsif exists (select from job_progress p where p.job_id >= low and p.job_id < high) then
        return 'progress';
    end if;
    return 'expired';
end $$;

-- The longest that any queue keeps each status.
create function longest_retentions() returns queue language plpgsql stable as $$
declare
    longest queue;
begin
    select max(q.retention_succeeded), max(q.retention_failed_permanent), max(q.retention_cancelled)
    into longest.retention_succeeded, longest.retention_failed_permanent, longest.retention_cancelled
    from queue q;
    return longest;
end $$;

-- The jobs of a range that ended longer ago than the retention, and that their queue keeps longer. Null: to find them out, more
-- than `most` rows would have to be looked at.
create function kept_longer(low uuid, high uuid, retention interval, most int4) returns uuid[]
language plpgsql stable as $$
declare
    longest queue := longest_retentions();
    part    uuid[];
    looked  uuid[] := '{}';
begin
    if longest.retention_succeeded > retention then
        part := array(
            select f.id from finished_job f
            where f.id >= low and f.id < high and f.status = 3
                and f.finished_at < now() - retention and f.finished_at >= now() - longest.retention_succeeded
            limit most + 1
        );
        looked := looked || part;
    end if;
    if longest.retention_failed_permanent > retention and cardinality(looked) <= most then
        part := array(
            select f.id from finished_job f
            where f.id >= low and f.id < high and f.status = 5
                and f.finished_at < now() - retention and f.finished_at >= now() - longest.retention_failed_permanent
            limit most + 1
        );
        looked := looked || part;
    end if;
    if longest.retention_cancelled > retention and cardinality(looked) <= most then
        part := array(
            select f.id from finished_job f
            where f.id >= low and f.id < high and f.status = 6
                and f.finished_at < now() - retention and f.finished_at >= now() - longest.retention_cancelled
            limit most + 1
        );
        looked := looked || part;
    end if;
    if cardinality(looked) > most then
        return null;
    end if;
    return array(
        select f.id
        from finished_job f
        join job j on j.id = f.id and j.id >= low and j.id < high
        join lane l on l.id = j.lane_id
        join queue q on q.id = l.queue_id
        where f.id = any (looked) and f.id >= low and f.id < high and f.finished_at >= now() - retention_of(q, f.status)
    );
end $$;

-- As in 0002, and it keeps what kept_longer finds. It answers 'too many' also where that would have to look at more than twice
-- max_rows: a sweep goes before then.
create or replace function merge_partitions(elder text, younger text, retention interval, max_rows int4, max_bytes int8) returns text
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    a      job_partition;
    b      job_partition;
    longer uuid[];
    kept   uuid[];
    bytes  numeric;
    base   text;
    key    text;
    fresh  text;
    old    text;
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
    longer := kept_longer(a.from_id, b.to_id, retention, 2 * max_rows);
    if longer is null then
        return 'too many';
    end if;
    select array_agg(k.id) into kept from (
        select l.id from live_job l where l.id >= a.from_id and l.id < b.to_id
        union all
        select f.id from finished_job f
        where f.id >= a.from_id and f.id < b.to_id and f.finished_at >= now() - retention
        union all
        select id from unnest(longer) id
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
    insert into job_partition (name, from_id, to_id, leftover, swept_at) values (a.name, a.from_id, b.to_id, true, now());
    return 'merged';
end $$;

-- As in 0002: a function that runs with its owner's rights looks names up in the schema it was made in, and nowhere else.
do $$
begin
    execute format(
        'alter function merge_partitions(text, text, interval, int4, int8) set search_path = %I, pg_temp', current_schema());
end $$;
