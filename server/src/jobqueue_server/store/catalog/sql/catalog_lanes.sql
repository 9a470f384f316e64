-- catalog: every lane of every namespace with its names
-- A few rows a queue; read about once a second, so gates and policies of other servers are known within that time.
select l.id, l.queue_id, l.kind_id, l.gated, q.paused_at is not null as paused, q.name as queue, k.name as kind,
       n.id as namespace_id, n.name as namespace,
       q.revision, q.key_max_running, q.key_rate_count, q.key_rate_period_ms, q.key_rate_burst, q.key_max_waiting,
       q.require_key, q.key_order, q.key_on_failure, q.key_fair, q.max_waiting, q.max_running,
       q.rate_count, q.rate_period_ms, q.rate_burst,
       least(q.retention_succeeded, q.retention_failed_permanent, q.retention_cancelled) as shortest_retention,
       k.max_running as kind_max_running, k.rate_count as kind_rate_count, k.rate_period_ms as kind_rate_period_ms,
       k.rate_burst as kind_rate_burst, k.slot_weight,
       exists (select from queue_key s where s.queue_id = q.id) as says_of_keys
from lane l
join queue q on q.id = l.queue_id
join kind k on k.id = l.kind_id
join namespace n on n.id = coalesce(l.namespace_id, q.namespace_id)
order by l.id
