-- no-transaction
-- The jobs that wait for a token of a key, in their order. A job that gets one at its enqueue is never in it.
create index concurrently if not exists live_job_waits_for_key on live_job (stile, priority desc, run_at, id) where hold = 1;
