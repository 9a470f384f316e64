-- The columns of a job that becomes live again. Attempts go on counting, since they are the fence; failures and losses start
-- again.
insert into live_job (
    id, run_at, lane_id,
    -- fields: columns of live_job,
    priority, max_attempts, timeout_ms,
    -- end of fields
    state, hold, semaphore_id, attempts
)
