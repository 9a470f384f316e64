-- read: how many dead rows the tables have that change often
-- As PostgreSQL counts them for its autovacuum, which costs no look at the tables.
select t.name, coalesce(s.n_dead_tup, 0) as dead
from unnest(array['live_job', 'semaphore', 'idempotency_key', 'unique_hold', 'worker_session', 'lane_stat']) t (name)
left join pg_stat_user_tables s on s.relid = t.name::regclass
