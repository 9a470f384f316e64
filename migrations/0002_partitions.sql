-- Partitions of job, finished_job and attempt: ranges of ids, 6 hours each, the same ranges for all three.
-- The functions are `security definer` of the migrating role, since the service's role owns nothing.

create table job_partition (
    name    text primary key,
    from_id uuid not null,
    to_id   uuid not null,
    constraint "a partition is a range of ids" check (from_id < to_id)
);
comment on table job_partition is 'The ranges that exist; each is three partitions: job_<name>, finished_job_<name>, attempt_<name>.';
create unique index job_partition_from_id on job_partition (from_id);

-- Makes the partition that holds each 6 hours from `behind` before now to `ahead` after it. Returns how many it made.
-- `create like` and `attach` take no lock that blocks readers; lock_timeout gives up before it stands in anybody's way.
create function ensure_partitions(behind int4, ahead int4) returns int4
language plpgsql security definer set lock_timeout = '100ms' as $$
declare
    slot  timestamptz;
    label text;
    low   uuid;
    high  uuid;
    base  text;
    made  int4 := 0;
begin
    for slot in
        select to_timestamp((floor(extract(epoch from now()) / 21600) + n) * 21600) from generate_series(-behind, ahead) n
    loop
        label := to_char(slot at time zone 'UTC', 'YYYYMMDDHH24');
        low := uuid_at(slot);
        high := uuid_at(slot + interval '6 hours');
        continue when exists (select from job_partition p where p.from_id < high and p.to_id > low);
        foreach base in array array['job', 'finished_job', 'attempt'] loop
            execute format('create table %I (like %I including all)', base || '_' || label, base);
            execute format('alter table %I attach partition %I for values from (%L) to (%L)', base, base || '_' || label, low, high);
        end loop;
        insert into job_partition (name, from_id, to_id) values (label, low, high);
        made := made + 1;
    end loop;
    return made;
end $$;

do $$
begin
    -- A function that runs with its owner's rights looks names up in the schema it was made in, and nowhere else.
    execute format('alter function ensure_partitions(int4, int4) set search_path = %I, pg_temp', current_schema());
end $$;

-- The service's role is given this function by name; nobody else is.
revoke execute on function ensure_partitions(int4, int4) from public;

select ensure_partitions(1, 2);
