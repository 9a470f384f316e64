-- A queue as administrators see it, with its lanes.
select q.name, q.paused_at is not null as paused,
       q.revision, q.key_max_running, q.key_rate_count, q.key_rate_period_ms, q.key_rate_burst, q.key_max_waiting,
       q.require_key, q.key_order, q.key_on_failure, q.key_fair, q.max_waiting, q.max_running,
       q.rate_count, q.rate_period_ms, q.rate_burst,
       q.retention_succeeded, q.retention_failed_permanent, q.retention_cancelled,
       array(select l.id from lane l where l.queue_id = q.id order by l.id) as lane_ids
from queue q
