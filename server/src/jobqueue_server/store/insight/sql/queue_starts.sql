-- read: how many jobs of queues with a rate may start now
-- $1 int4[]: queues
select q.id, starts_of_rate(r.tat, now(), q.rate_count, q.rate_period_ms, q.rate_burst) as jobs
from queue q
left join queue_rate r on r.queue_id = q.id
where q.id = any($1::int4[]) and q.rate_count is not null
