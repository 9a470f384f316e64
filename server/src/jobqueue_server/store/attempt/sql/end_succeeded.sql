-- end: leased -> succeeded, of any job
-- $1 ids uuid[] $2 attempts int4[] $3 sessions int8[] $4 outputs bytea[]: JSON text, null: none; empty: none has one
-- What end_plain.sql leaves: jobs that hold permits of their keys, or have outputs. The statement that deletes a job gives its
-- permit back, so that no crash can keep it. Where no job waits, as far as is known: end_and_admit.sql also admits, and costs
-- twice as much. Who waits all the same is admitted by the next statement; `calling` names the keys.
-- All live rows lock before the first semaphore, and those in the order of their ids, by their primary key.
-- locks: 2 6
with gone as (
    -- use end-leases (more = , semaphore_id)
    delete from live_job
    where id = any($1::uuid[])
        and ((id, attempts, session_id) in (select * from unnest($1::uuid[], $2::int4[], $3::int8[]))) is true
    returning id, changed_at, session_id, attempts, failures, losses, semaphore_id
    -- end of end-leases
),
ended as (
    -- use write-successes
    insert into finished_job (id, started_at, session_id, attempts, status, failures, losses, output)
    select g.id, g.changed_at, g.session_id, g.attempts, 3, g.failures, g.losses, o.output
    from gone g
    -- A job that was lost and came back may be told with both attempts.
    left join unnest(case when cardinality($4::bytea[]) > 0 then $1::uuid[] end, $2::int4[], $4::bytea[])
        as o (id, attempt, output) on o.id = g.id and o.attempt = g.attempts
    -- end of write-successes
),
freed as materialized (
    select array_agg(semaphore_id order by semaphore_id) as ids, array_agg(taken order by semaphore_id) as taken
    from (select semaphore_id, count(*)::int4 as taken from gone where semaphore_id is not null group by semaphore_id) s
),
turned as (
    update semaphore t
    -- use give-back
    set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
        waiting = t.waiting - 0,
        admit_at = case
            when t.waiting <= 0 then null
            when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
                then coalesce(t.admit_at, now())
            else t.admit_at
        end
    -- end of give-back
    where t.id = any((select ids from freed)::int8[])
    returning t.id, t.admit_at
)
select
    now() as at,
    case when count(*) < cardinality($1::uuid[]) then coalesce(array_agg(id), '{}') end as settled,
    (select array_agg(id) from turned where admit_at <= now()) as calling
from gone
