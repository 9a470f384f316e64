-- no-transaction
-- Both of the above in one index: its wide entries were a fifth of what a job of a limited key cost PostgreSQL.
drop index concurrently if exists live_job_of_key;
