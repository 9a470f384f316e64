-- retry: succeeded, failed_permanent, cancelled -> queued, or held back by its key
-- $1 uuid: the job, whose finished row this transaction has locked
-- No row: the body is gone, so there is nothing to run; the transaction is rolled back.
with body as materialized (
    select id, lane_id,
        (
            select semaphore_of(q.id, job.key) from lane n join queue q on q.id = n.queue_id
            where n.id = job.lane_id
                and q.limits_keys
        ) as semaphore_id,
        -- fields: columns of live_job
        priority, max_attempts, timeout_ms
        -- end of fields
    from job where id = $1
),
ended as (
    delete from finished_job f using body b where f.id = $1 and f.id = b.id
    returning f.id, f.attempts, f.started_at, f.finished_at, f.session_id, f.status, f.reason
),
kept as (
    -- use keep-last-attempt
    insert into attempt (job_id, attempt, started_at, ended_at, session_id, outcome, reason)
    select id, attempts, started_at, finished_at, session_id,
           case status when 3 then 9 when 6 then 2 else 1 end, reason
    from ended
    where attempts > 0 and started_at is not null
    on conflict (job_id, attempt) do nothing
    -- end of keep-last-attempt
),
-- One that was done starts from the beginning; one that failed goes on where it was.
begun_anew as (
    update job_progress p set checkpoint = null
    from ended e
    where p.job_id = e.id and e.status = 3 and p.checkpoint is not null
)
-- use back-to-live
insert into live_job (
    id, run_at, lane_id,
    priority, max_attempts, timeout_ms,
    state, hold, semaphore_id, attempts
)
-- end of back-to-live
select
    b.id, now(), b.lane_id,
    -- fields: columns of live_job from b,
    b.priority, b.max_attempts, b.timeout_ms,
    -- end of fields
    case when b.semaphore_id is null then 1 else 3 end, case when b.semaphore_id is not null then 2 end, b.semaphore_id, e.attempts
from ended e
join body b on b.id = e.id
returning lane_id, priority, state = 3 as held
