-- settle: leased -> succeeded
-- $1 id uuid[]  $2 attempt int4[]  $3 session_id int8[]
-- The triple is the fence: two separate `= any` would accept swapped pairs. No predicate on the state, which would make
-- the planner take the partial index of held rows; a row with this session is leased, by its constraint. Rows lock in
-- the order of ids (an index scan on the primary key), so that two settlements never wait for each other in a ring.
with gone as (
    delete from live_job
    where id = any($1::uuid[])
        and (id, attempts, session_id) in (select * from unnest($1::uuid[], $2::int4[], $3::int8[]))
    returning id, changed_at, session_id, attempts, failures, losses
),
ended as (
    insert into finished_job (id, started_at, session_id, attempts, status, failures, losses)
    select id, changed_at, session_id, attempts, 3, failures, losses from gone
)
select now() as at, case when count(*) < cardinality($1::uuid[]) then coalesce(array_agg(id), '{}') end as settled
from gone
