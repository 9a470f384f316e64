-- no-transaction
-- Jobs that wait for their run_at before they may wait for their key.
create index concurrently if not exists live_job_ripens on live_job (run_at) where state = 3 and hold = 2;
