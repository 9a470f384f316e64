-- Watches look for the ends of the last seconds by BRIN(finished_at), which knows nothing of pages that were not summarized:
-- all of them are read. Autovacuum summarizes when a fifth of a partition is new: with 1.5 million such rows a look took
-- 150 ms instead of 7. With autosummarize a range of 128 pages is summarized within a minute of its last row.

create or replace function ensure_partitions(width interval, behind int4, ahead int4) returns int4
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
        perform summarize_ends(('finished_job_' || label)::regclass);
        insert into job_partition (name, from_id, to_id) values (label, low, high);
        made := made + 1;
        low := high;
    end loop;
    return made;
end $$;

-- Has a partition of finished_job summarized as it grows. An index that is itself partitioned takes no such setting, so
-- each partition gets it. The lock is one that neither readers nor writers wait for.
create function summarize_ends(partition regclass) returns void language plpgsql as $$
declare
    brin regclass;
begin
    for brin in
        select i.indexrelid from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_am a on a.oid = c.relam
        where i.indrelid = partition and a.amname = 'brin'
    loop
        execute format('alter index %s set (autosummarize = on)', brin);
    end loop;
end $$;

select summarize_ends(('finished_job_' || name)::regclass) from job_partition;

-- As in 0002: a function that runs with its owner's rights looks names up in the schema it was made in, and nowhere else.
do $$
begin
    execute format('alter function ensure_partitions(interval, int4, int4) set search_path = %I, pg_temp', current_schema());
end $$;
