-- no-transaction
-- The jobs that are held back, of a lane: watches and the depths of queues read them.
create index concurrently if not exists live_job_held_back on live_job (lane_id, run_at, id) where state = 3;
