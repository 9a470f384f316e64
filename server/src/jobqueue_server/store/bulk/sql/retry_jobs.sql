-- retry: succeeded, failed_permanent, cancelled -> queued, or held back by its key
-- $1 uuid[]: the jobs, whose finished rows this transaction has locked; $2, $3 uuid: the smallest of them, the greatest
-- $4 interval: each starts at a moment that is drawn evenly from the time after its earliest start that is so long
-- $5 timestamptz: the earliest start; null: $6 interval after now; $7 bool: each begins anew, not only those that succeeded
-- One that was done starts from the beginning; one that failed goes on where it was. A job whose body is gone is left as it is,
-- and not answered. The looks at `job` are one a row, so that each reads one partition; the arrays of ids stand where a join of
-- two lists would compare each with each.
-- has: 2
with ended as (
    delete from finished_job f
    where f.id = any($1::uuid[]) and f.id >= $2 and f.id <= $3
        and (select true from job j where j.id = f.id limit 1)
    returning f.id, f.attempts, f.started_at, f.finished_at, f.session_id, f.status, f.reason
),
-- Unless it is there already, or there was none: one that was cancelled while it waited has no started_at.
kept as (
    insert into attempt (job_id, attempt, started_at, ended_at, session_id, outcome, reason)
    select id, attempts, started_at, finished_at, session_id,
           case status when 3 then 9 when 6 then 2 else 1 end, reason
    from ended
    where attempts > 0 and started_at is not null
    on conflict (job_id, attempt) do nothing
),
begun_anew as (
    update job_progress p set checkpoint = null
    where p.job_id = any(array(select e.id from ended e where e.status = 3 or $7::bool)) and p.checkpoint is not null
)
-- Attempts go on counting, since they are the fence; failures and losses start again.
insert into live_job (
    id, run_at, lane_id,
    -- fields: columns of live_job,
    priority, max_attempts, timeout_ms,
    -- end of fields
    state, hold, semaphore_id, attempts
)
select
    b.id, greatest(coalesce($5::timestamptz, now() + $6::interval), now()) + random() * $4::interval, b.lane_id,
    -- fields: columns of live_job from b,
    b.priority, b.max_attempts, b.timeout_ms,
    -- end of fields
    case when k.semaphore_id is null then 1 else 3 end, case when k.semaphore_id is not null then 2 end, k.semaphore_id, e.attempts
from ended e
cross join lateral (select job.* from job where job.id = e.id limit 1) b
cross join lateral (
    select (
        select semaphore_of(q.id, b.key) from lane n join queue q on q.id = n.queue_id
        where n.id = b.lane_id
            and q.limits_keys
    ) as semaphore_id
) k
returning id, lane_id, priority, run_at, state = 3 as held
