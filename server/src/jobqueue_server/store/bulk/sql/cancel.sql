-- cancel: queued, retrying -> cancelled; running -> running with cancel_requested
-- $1 uuid[]: the jobs; $2 interval: how long a worker may take to answer, before the server decides; $3 text: why, or null
-- $4 int2[]: the statuses that may change; $5 int4: namespace
-- A job that is not answered is not live, or its status is another one.
-- The lock waits for a claim or a settlement that is under way and then sees what they made of the row; so a job that is
-- claimed at this moment is asked to stop, and one that ends at this moment stays as it is.
-- One that holds a permit of its key gives it back, and one that waits for a permit waits no longer; `calling` is its key, if
-- another may be admitted now. In strict order the key of one that held its permit may be blocked, by what its queue says.
-- The first request sets the grace; a repeat changes nothing. The run timeout stays if it comes earlier.
-- locks: 2 6
with held as materialized (
    select id, state, lane_id, session_id, attempts, failures, losses, cancel_requested_at, hold, semaphore_id
    from live_job l
    where id = any($1::uuid[])
        and (case when l.state = 2 then 2 when l.failures + l.losses > 0 then 4 else 1 end)::int2 = any($4::int2[])
        and (select n.namespace_id = $5 from lane n where n.id = l.lane_id)
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
-- use places-of (jobs = held; leave = state <> 2)
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
        from held
        where semaphore_id is not null and coalesce(hold, 1) = 1 and state <> 2
        group by semaphore_id
    ) each
),
locked as materialized (
    select t.id from semaphore t where t.id = any((select ids from freed)::int8[]) order by t.id for update
),
-- end of places-of
turned as (
    update semaphore t
    -- use give-back (places = ((select waiting from freed))[width_bucket(t.id, (select ids from freed))]; more = ,)
    set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
        waiting = t.waiting - ((select waiting from freed))[width_bucket(t.id, (select ids from freed))],
        admit_at = case
            when t.waiting <= ((select waiting from freed))[width_bucket(t.id, (select ids from freed))] then null
            when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
                then coalesce(t.admit_at, now())
            else t.admit_at
        end,
    -- end of give-back
        -- use block-key (places = ((select waiting from freed))[width_bucket(t.id, (select ids from freed))])
        blocked_by = case
            when t.blocked_by is null and (select any_failed from freed) then (
                select ((select failed from freed))[width_bucket(t.id, (select ids from freed))]
                from queue q
                where q.id = t.queue_id and (q.key_on_failure = 2 or (q.key_on_failure = 3 and t.waiting > ((select waiting from freed))[width_bucket(t.id, (select ids from freed))]))
            )
            else t.blocked_by
        end,
        cancels_to = case
            when t.blocked_by is null and t.waiting > ((select waiting from freed))[width_bucket(t.id, (select ids from freed))] and (select any_failed from freed) then (
                select greatest(t.last_at, clock_timestamp())
                from queue q
                where q.id = t.queue_id and q.key_on_failure = 3
                    and ((select failed from freed))[width_bucket(t.id, (select ids from freed))] is not null
            )
            else t.cancels_to
        end
        -- end of block-key
    where t.id = any(array(select id from locked))
    returning t.id, t.admit_at
)
select
    id, lane_id, state = 2 as pending, session_id, attempts,
    case when semaphore_id in (select t.id from turned t where t.admit_at <= now()) then semaphore_id end as calling
from held
order by id
