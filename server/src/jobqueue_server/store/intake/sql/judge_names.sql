-- names: held by jobs that let go of them -> held by these jobs
-- $1 digest bytea[]: rows that take_names.sql has locked in this transaction
-- For each: $2 job_id uuid[]  $3 until int2[]  $4 period interval[], as there
-- $5 digest bytea[]: of these, the names whose jobs are to be changed; they are locked, in the order of ids
-- Answers who holds the others. A holder that waits in this snapshot starts after it. So what the caller has written before
-- its call is seen by the job that it is answered, although that job's row is not locked. One that is to be changed is: the
-- lock waits for a claim that is under way, and shows what it made of the row.
-- locks: 2
-- has: 1
with locked as materialized (
    select l.id, l.lane_id, l.state
    from live_job l
    where l.id = any(array(select u.job_id from unique_hold u where u.digest = any($5::bytea[])))
    order by l.id
    for no key update
),
held as materialized (
    select
        h.digest, h.job_id, h.lane_id,
        coalesce(h.holds_until > now(), false)
            or (h.state is not null and (h.until = 2 or (h.until = 1 and h.state <> 2))) as holds,
        h.lane_id is not null and h.state <> 2 as waits
    from (
        select
            u.digest, u.job_id, u.until, u.holds_until, l.lane_id,
            case
                when u.digest = any($5::bytea[]) then l.state
                else (select o.state from live_job o where o.id = u.job_id)
            end as state
        from unique_hold u
        left join locked l on l.id = u.job_id and u.digest = any($5::bytea[])
        where u.digest = any($1::bytea[])
    ) h
),
taken as (
    update unique_hold u
    set job_id = n.job_id, until = coalesce(n.until, 1), holds_until = now() + n.period
    from unnest($1::bytea[], $2::uuid[], $3::int2[], $4::interval[]) as n (digest, job_id, until, period)
    where u.digest = n.digest and n.digest in (select digest from held where not holds)
)
select digest, job_id, waits, lane_id, case when waits then (select j.key from job j where j.id = job_id) end as key
from held
where holds
