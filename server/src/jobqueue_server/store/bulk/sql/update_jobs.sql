-- jobs: queued, retrying or held back -> the same, with another priority, start, queue or number of attempts
-- $1 uuid[]: the jobs; $2, $3 uuid: the smallest of them, the greatest; $4 int2[]: the statuses that may change
-- $5 int2: priority or null; $6 int2: attempts or null
-- $7 bool: whether they get another start: $8 timestamptz, or null for $9 interval after now; $10 interval: drawn evenly from
-- the time after it that is so long
-- $11 text: the queue, which has a lane for each of their kinds, or null; $12 int4: namespace
-- A job that runs, has ended or has another status is not answered, nor one with a key in a queue with strict order that would
-- get another priority or start there: an enqueue refuses both.
-- What has a new priority or lane goes to the end of its line: a claim starts at the floor of a line, and would pass it over for
-- a minute. run_at is never stored in the past. As in change_jobs.sql a claim whose snapshot is older can't take such a job.
-- A job that goes into another queue or gets another start gives the permit of its key back, or its place before it, as in
-- cancel.sql, and waits for its time and then for its key: release_due.sql is the one way to the semaphore. One that an operator
-- holds by hand has neither, and stays held. `calling` is a key of which another job may be let in now.
-- Locks: live rows in the order of their ids, then semaphores.
-- locks: 2 6
with held as materialized (
    select l.id, l.lane_id, l.hold, l.semaphore_id
    from live_job l
    where l.id = any($1::uuid[]) and l.state <> 2
        and (case when l.failures + l.losses > 0 then 4 else 1 end)::int2 = any($4::int2[])
    order by l.id
    for update of l
),
plan as materialized (
    select
        h.id, h.hold, h.semaphore_id, p.lane_id, p.moves,
        case when p.moves then (
            select semaphore_of(q.id, b.key) from queue q
            where q.id = p.queue_id
                and q.limits_keys
        ) else h.semaphore_id end as new_semaphore_id
    from held h
    cross join lateral (select job.key from job where job.id = h.id limit 1) b
    cross join lateral (
        select o.id as lane_id, o.queue_id, o.id <> n.id as moves
        from lane n
        join lane o on o.kind_id = n.kind_id
        where n.id = h.lane_id
            and case
                when $11::text is null then o.id = n.id
                else o.queue_id = (select q.id from queue q where q.namespace_id = $12::int4 and q.name = $11)
            end
    ) p
    where (b.key is null or ($5::int2 is null and not $7::bool)
        or (select q.key_order is null from queue q where q.id = p.queue_id))
),
-- use places-of (jobs = plan; leave = (moves or $7))
freed as materialized (
    select
        array_agg(semaphore_id order by semaphore_id) as ids,
        array_agg(taken order by semaphore_id) as taken,
        array_agg(waiting order by semaphore_id) as waiting,
        bool_or(failed is not null) as any_failed,
        array_agg(failed order by semaphore_id) as failed
    from (
        select
            semaphore_id,
            (count(*) filter (where hold is null))::int4 as taken,
            (count(*) filter (where hold = 1))::int4 as waiting,
            (array_agg(id order by id) filter (where hold is null))[1] as failed
        from plan
        where semaphore_id is not null and coalesce(hold, 1) = 1 and (moves or $7)
        group by semaphore_id
    ) each
),
locked as materialized (
    select t.id from semaphore t where t.id = any((select ids from freed)::int8[]) order by t.id for update
),
-- end of places-of
turned as (
    update semaphore t
    -- use give-back (places = ((select waiting from freed))[width_bucket(t.id, (select ids from freed))])
    set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
        waiting = t.waiting - ((select waiting from freed))[width_bucket(t.id, (select ids from freed))],
        admit_at = case
            when t.waiting <= ((select waiting from freed))[width_bucket(t.id, (select ids from freed))] then null
            when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
                then coalesce(t.admit_at, now())
            else t.admit_at
        end
    -- end of give-back
    where t.id = any(array(select id from locked))
    returning t.id, t.admit_at
),
changed as (
    update live_job l
    set lane_id = p.lane_id,
        semaphore_id = p.new_semaphore_id,
        hold = n.hold,
        state = case when n.hold is not null then 3 when l.losses + l.unseen >= 2 then 4 else 1 end,
        priority = coalesce($5, l.priority),
        max_attempts = case when $6::int2 is not null then greatest($6, l.failures + 1) else l.max_attempts end,
        run_at = case
            when $7 then greatest(coalesce($8::timestamptz, now() + $9::interval), now()) + random() * $10::interval
            when p.moves or coalesce($5, l.priority) <> l.priority then greatest(l.run_at, now())
            else l.run_at
        end,
        changed_at = now()
    from plan p
    cross join lateral (
        select case
            when p.hold = 4 then 4
            when p.new_semaphore_id is null then null
            when p.moves or $7 then 2
            else p.hold
        end::int2 as hold
    ) n
    where l.id = p.id and l.id = any($1::uuid[])
    returning l.id, l.lane_id, l.priority, l.run_at, l.max_attempts, l.state, l.hold, p.semaphore_id
),
body as (
    update job j
    set lane_id = c.lane_id,
        priority = c.priority,
        max_attempts = c.max_attempts,
        run_at = case when $7 then c.run_at else j.run_at end
    from changed c
    where j.id = c.id and j.id = any($1::uuid[]) and j.id >= $2 and j.id <= $3
)
select
    c.id, c.lane_id, c.priority, c.run_at, c.state = 4 as isolated, c.hold,
    case when c.semaphore_id in (select t.id from turned t where t.admit_at <= now()) then c.semaphore_id end as calling
from changed c
order by c.id
