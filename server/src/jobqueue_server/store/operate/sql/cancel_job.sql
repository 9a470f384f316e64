-- cancel: queued, retrying -> cancelled; running -> running with cancel_requested
-- $1 uuid: the job; $2 interval: how long its worker may take to answer, before the server decides; $3 text: why, or null
-- $4 int4: namespace
-- No row: the job is not live; it may have ended, or never was.
-- The lock waits for a claim or a settlement that is under way and then sees what they made of the row; so a job that is
-- claimed at this moment is asked to stop, and one that ends at this moment stays as it is.
-- One that holds a token of its key gives it back, and one that waits for a token waits no longer; `calling` is the key, if
-- another may be let in now. In strict order the key of one that held its token may be blocked, by what its queue says.
-- The first request sets the grace; a repeat changes nothing. The run timeout stays if it comes earlier.
with held as materialized (
    select id, state, lane_id, session_id, attempts, failures, losses, cancel_requested_at, hold, semaphore_id
    from live_job l
    where id = $1
        and (select n.namespace_id = $4 from lane n where n.id = l.lane_id)
    for update of l
),
gone as (
    delete from live_job l using held h where l.id = h.id and h.state <> 2
),
ended as (
    insert into finished_job (id, attempts, status, failures, losses, reason)
    select id, attempts, 6, failures, losses, 'CANCELLED_BY_CALLER' from held where state <> 2
),
asked as (
    update live_job l
    set cancel_requested_at = now(), deadline = least(l.deadline, now() + $2), cancel_reason = $3::text
    from held h
    where l.id = h.id and h.state = 2 and h.cancel_requested_at is null
),
turned as (
    update semaphore t
    set taken = t.taken - (select count(*)::int4 from held where hold is null),
        waiting = t.waiting - (select count(*)::int4 from held where hold = 1),
        admit_at = case
            when t.waiting <= (select count(*) from held where hold = 1) then null
            when exists (select from held where hold is null) then coalesce(t.admit_at, now())
            else t.admit_at
        end,
        blocked_by = case
            when t.blocked_by is null and exists (select from held where hold is null) then (
                select $1
                from queue q
                where q.id = t.queue_id and (q.key_on_failure = 2 or (q.key_on_failure = 3 and t.waiting > 0))
            )
            else t.blocked_by
        end,
        cancels_to = case
            when t.blocked_by is null and t.waiting > 0 and exists (select from held where hold is null) then (
                select greatest(t.last_at, clock_timestamp()) from queue q where q.id = t.queue_id and q.key_on_failure = 3
            )
            else t.cancels_to
        end
    where t.id = (select semaphore_id from held where state <> 2 and coalesce(hold, 1) = 1)
    returning t.id, t.admit_at
)
select
    state = 2 as pending, session_id, attempts, lane_id,
    (select id from turned where admit_at <= now()) as calling
from held
