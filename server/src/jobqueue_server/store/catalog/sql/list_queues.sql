-- read: a page of queues with their lanes, by name
-- $1 int4: namespace; $2 text: only names after this one; $3 int4: rows at most
-- $4 text[]: patterns of LIKE of the queues that may be seen; null: all
-- The "C" order is that of the code points, the same on every server whatever its locale, so that a page token holds.
-- use queue-as-seen
select q.name, q.paused_at is not null as paused,
       q.revision, q.key_max_running, q.key_rate_count, q.key_rate_period_ms, q.key_rate_burst, q.key_max_waiting,
       q.require_key, q.key_order, q.key_on_failure, q.key_fair, q.max_waiting, q.max_running,
       q.rate_count, q.rate_period_ms, q.rate_burst,
       q.retention_succeeded, q.retention_failed_permanent, q.retention_cancelled,
       array(select l.id from lane l where l.queue_id = q.id order by l.id) as lane_ids
from queue q
-- end of queue-as-seen
where q.namespace_id = $1 and q.name > $2 collate "C" and ($4::text[] is null or q.name like any($4))
order by q.name collate "C"
limit $3
