-- catalog: some lanes, of all namespaces, with their names
-- $1 int4[]: these; or of all, by number: $2 int4: those after this one, $3 int4: so many at most
-- Those that changed, about once a second, so gates and policies of other servers are known within that time; all of them when
-- a server starts, and after an absence of the database.
select l.id, l.queue_id, l.kind_id, l.gated, l.used_at, q.paused_at is not null as paused, q.name as queue, k.name as kind,
       n.id as namespace_id, n.name as namespace,
       q.revision, q.key_max_running, q.key_rate_count, q.key_rate_period_ms, q.key_rate_burst, q.key_max_waiting,
       q.require_key, q.key_order, q.key_on_failure, q.key_fair, q.max_waiting, q.max_running,
       q.rate_count, q.rate_period_ms, q.rate_burst,
       least(q.retention_succeeded, q.retention_failed_permanent, q.retention_cancelled) as shortest_retention,
       k.max_running as kind_max_running, k.rate_count as kind_rate_count, k.rate_period_ms as kind_rate_period_ms,
       k.rate_burst as kind_rate_burst, k.slot_weight,
       exists (select from queue_key s where s.queue_id = q.id) as says_of_keys
from (
    select o.id from lane o where o.id = any($1::int4[])
    union all
    (select o.id from lane o where o.id > $2::int4 order by o.id limit $3::int4)
) wanted
join lane l on l.id = wanted.id
join queue q on q.id = l.queue_id
join kind k on k.id = l.kind_id
join namespace n on n.id = coalesce(l.namespace_id, q.namespace_id)
order by l.id
