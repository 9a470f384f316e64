-- cancel: many jobs, queued, retrying -> cancelled; running -> running with cancel_requested
-- $1 uuid[]: the jobs; $2 interval: how long a worker may take to answer, before the server decides; $3 text: why, or null
-- $4 int2[]: the statuses that may change
-- As cancel_job, for many, whose rows are locked in the order of ids. A job that has ended, or whose status has become
-- another one, is not answered. Tokens of keys go back and keys are blocked as there; `calling` is a job's key, if another may
-- be let in now.
with held as materialized (
    select id, state, lane_id, session_id, attempts, failures, losses, cancel_requested_at, hold, semaphore_id
    from live_job l
    where id = any($1::uuid[])
        and (case when l.state = 2 then 2 when l.failures + l.losses > 0 then 4 else 1 end)::int2 = any($4::int2[])
    order by l.id
    for update of l
),
gone as (
    delete from live_job l where l.id = any(array(select h.id from held h where h.state <> 2))
),
ended as (
    insert into finished_job (id, attempts, status, failures, losses, reason)
    select id, attempts, 6, failures, losses, 'CANCELLED_BY_CALLER' from held where state <> 2
),
asked as (
    update live_job l
    set cancel_requested_at = now(), deadline = least(l.deadline, now() + $2), cancel_reason = $3::text
    where l.id = any(array(select h.id from held h where h.state = 2 and h.cancel_requested_at is null))
),
freed as materialized (
    select
        array_agg(semaphore_id order by semaphore_id) as ids,
        array_agg(taken order by semaphore_id) as taken,
        array_agg(waiting order by semaphore_id) as waiting,
        array_agg(head order by semaphore_id) as head
    from (
        select
            semaphore_id,
            (count(*) filter (where hold is null))::int4 as taken,
            (count(*) filter (where hold = 1))::int4 as waiting,
            (array_agg(id order by id) filter (where hold is null))[1] as head
        from held
        where semaphore_id is not null and state <> 2 and coalesce(hold, 1) = 1
        group by semaphore_id
    ) each
),
-- In the order of their ids, as each other statement, whatever scan the update takes.
locked as materialized (
    select t.id from semaphore t where t.id = any((select ids from freed)::int8[]) order by t.id for update
),
turned as (
    update semaphore t
    -- use give-places-back (more = ,)
    set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
        waiting = t.waiting - ((select waiting from freed))[width_bucket(t.id, (select ids from freed))],
        admit_at = case
            when t.waiting <= ((select waiting from freed))[width_bucket(t.id, (select ids from freed))] then null
            when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
                then coalesce(t.admit_at, now())
            else t.admit_at
        end,
    -- end of give-places-back
        blocked_by = case
            when t.blocked_by is null then (
                select ((select head from freed))[width_bucket(t.id, (select ids from freed))]
                from queue q
                where q.id = t.queue_id
                    and (
                        q.key_on_failure = 2
                        or (
                            q.key_on_failure = 3
                            and t.waiting > ((select waiting from freed))[width_bucket(t.id, (select ids from freed))]
                        )
                    )
            )
            else t.blocked_by
        end,
        cancels_to = case
            when t.blocked_by is null
                and t.waiting > ((select waiting from freed))[width_bucket(t.id, (select ids from freed))]
                then (
                    select greatest(t.last_at, clock_timestamp())
                    from queue q
                    where q.id = t.queue_id and q.key_on_failure = 3
                        and ((select head from freed))[width_bucket(t.id, (select ids from freed))] is not null
                )
            else t.cancels_to
        end
    where t.id = any(array(select id from locked))
    returning t.id, t.admit_at
)
select
    id, lane_id, state = 2 as pending, session_id, attempts,
    case when semaphore_id in (select t.id from turned t where t.admit_at <= now()) then semaphore_id end as calling
from held
order by id
