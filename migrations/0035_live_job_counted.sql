-- no-transaction
-- The running jobs of a lane whose queue limits how many run.
create index concurrently if not exists live_job_counted on live_job (lane_id) where state = 2 and counted;
