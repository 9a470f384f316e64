-- ended: - -> succeeded, failed_permanent, cancelled, many at once, as their ends leave them; for what would take hours to run
-- $1 int4[]: lanes, which take turns  $2 int8: jobs  $3 bytea: payload  $4, $5 interval: how long ago the first was
-- enqueued, and the last  $6 int4: of so many jobs one failed for good and one was cancelled; 1: all failed
-- The partitions of that time must be there. One of 50 has a label, with 20 values in all.
with made as materialized (
    select
        n, uuidv7(-($4::interval - ($4::interval - $5::interval) * (n::float8 / $2::int8))) as id,
        ($1::int4[])[1 + n % cardinality($1::int4[])] as lane_id,
        case n % $6::int4 when 0 then 5 when 1 then 6 else 3 end::int2 as status
    from generate_series(1, $2::int8) n
),
body as (
    insert into job (id, run_at, lane_id, priority, max_attempts, labels, payload)
    select id, uuid_time(id), lane_id, 0, 3,
           case when n % 50 = 0 then jsonb_build_object('tenant', (n % 1000 / 50)::text) end, $3::bytea
    from made
),
failed as (
    insert into attempt (job_id, attempt, started_at, ended_at, outcome, reason, error_type, message, stack)
    select id, 1, uuid_time(id), uuid_time(id) + interval '20 ms', 1, 'NOT_RETRYABLE',
           'Error' || n / $6::int4 % 7, 'no luck', repeat('at a line of a file' || chr(10), 20)
    from made where status = 5
)
insert into finished_job (id, finished_at, started_at, attempts, status, failures, losses, reason)
select id, uuid_time(id) + interval '20 ms', case when status <> 6 then uuid_time(id) end, (status <> 6)::int4, status,
       (status = 5)::int4, 0, case status when 5 then 'NOT_RETRYABLE' when 6 then 'CANCELLED_BY_CALLER' end
from made
