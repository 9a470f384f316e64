-- no-transaction
-- What runs and is counted, by when it was leased: a count begins at the oldest one (0053_queue_running.sql).
-- No other index has this condition. `state = 2 and counted` let the planner take the index of what a session holds, which is
-- smaller, and for which a count passes over all that ended since a snapshot began.
create index concurrently if not exists live_job_counted_by_start on live_job (lane_id, changed_at)
where case when state = 2 then counted end;
