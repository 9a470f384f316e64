-- no-transaction
-- The live jobs of a key: those that hold its tokens (hold is null), and those that wait for one (hold 1), in their order.
create index concurrently if not exists live_job_of_key on live_job (stile, hold, priority desc, run_at, id) where stile is not null;
