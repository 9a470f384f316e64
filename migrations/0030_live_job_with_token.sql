-- no-transaction
-- The live jobs that hold a token of a key. Narrow: each job of a limited key is in it, from its enqueue to its end.
create index concurrently if not exists live_job_with_token on live_job (stile) where stile is not null and hold is null;
