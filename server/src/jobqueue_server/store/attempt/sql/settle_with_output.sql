-- settle: leased -> succeeded, with an output
-- $1 ids uuid[]  $2 attempts int4[]  $3 sessions int8[]  $4 outputs bytea[] (JSON text; null: none)
-- As settle_succeeded.sql. They are two statements because outputs are rare and their join is not free. This too leaves
-- what holds a token of its key to settle_limited.sql.
with gone as (
    -- use end-leases (only = and semaphore_id is null)
    delete from live_job
    where id = any($1::uuid[])
        and ((id, attempts, session_id) in (select * from unnest($1::uuid[], $2::int4[], $3::int8[]))) is true
        and semaphore_id is null
    returning id, changed_at, session_id, attempts, failures, losses
    -- end of end-leases
),
ended as (
    insert into finished_job (id, started_at, session_id, attempts, status, failures, losses, output)
    select g.id, g.changed_at, g.session_id, g.attempts, 3, g.failures, g.losses, o.output
    from gone g
    join unnest($1::uuid[], $4::bytea[]) as o (id, output) on o.id = g.id
)
select now() as at, case when count(*) < cardinality($1::uuid[]) then coalesce(array_agg(id), '{}') end as settled
from gone
