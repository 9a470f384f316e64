-- no-transaction
-- All that it was read for is in live_job_counted_by_start.
drop index concurrently if exists live_job_counted;
