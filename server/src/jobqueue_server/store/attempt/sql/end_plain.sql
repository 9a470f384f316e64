-- end: leased -> succeeded, of jobs without a permit and without an output
-- $1 id uuid[]; jobs that follow each other and have the same attempt and session are a run:
-- $2 number of its first job, from 1, int8[]  $3 attempt int4[]  $4 session_id int8[]
-- The triple is the fence: two separate `= any` would accept swapped pairs. `is true` keeps it a filter, by a hash: as a
-- join, planned when the statistics say that the table is all but empty, each row was compared with all ids, and 1,000 took
-- 200 ms instead of 4 until the next ANALYZE. No predicate on the state, which would make
-- the planner take the partial index of held rows; a row with this session is leased, by its constraint. Rows lock in
-- the order of ids (an index scan on the primary key), so that two settlements never deadlock.
-- What holds a permit of its key is left to end_succeeded.sql, whatever the caller knows of limits.
-- locks: 2
with gone as (
    delete from live_job
    where id = any($1::uuid[])
        and ((id, attempts, session_id) in (
            select l.id, ($3::int4[])[width_bucket(l.number, $2::int8[])], ($4::int8[])[width_bucket(l.number, $2::int8[])]
            from unnest($1::uuid[]) with ordinality as l (id, number)
        )) is true
        and semaphore_id is null
    returning id, changed_at, session_id, attempts, failures, losses
),
ended as (
    insert into finished_job (id, started_at, session_id, attempts, status, failures, losses)
    select id, changed_at, session_id, attempts, 3, failures, losses from gone
)
select now() as at, case when count(*) < cardinality($1::uuid[]) then coalesce(array_agg(id), '{}') end as settled
from gone
