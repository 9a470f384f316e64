-- catalog: some lanes, of all namespaces, with their names
-- $1 int4[]: these; or of all, by number: $2 int4: those after this one, $3 int4: so many at most
-- Those that changed, about once a second, so gates and policies of other servers are known within that time; all of them when
-- a server starts, and after an absence of the database.
-- Each row looks for its own: a join of these tables goes through all lanes up to the one that is wanted.
select l.id, l.queue_id, l.kind_id, l.closed, l.used_at, q.paused_at is not null as paused, q.name as queue, k.name as kind,
       n.id as namespace_id, n.name as namespace,
       q.revision, q.key_max_running, q.key_rate_count, q.key_rate_period_ms, q.key_rate_burst, q.key_max_waiting,
       q.require_key, q.key_order, q.key_on_failure, q.key_fair, q.max_waiting, q.max_running,
       q.rate_count, q.rate_period_ms, q.rate_burst,
       least(q.retention_succeeded, q.retention_failed_permanent, q.retention_cancelled) as shortest_retention,
       k.max_running as kind_max_running, k.rate_count as kind_rate_count, k.rate_period_ms as kind_rate_period_ms,
       k.rate_burst as kind_rate_burst, k.slot_weight, q.limits_keys
from (
    select o.* from lane o where o.id = any($1::int4[])
    union all
    (select o.* from lane o where o.id > $2::int4 order by o.id limit $3::int4)
) l
cross join lateral (select o.* from queue o where o.id = l.queue_id offset 0) q
cross join lateral (select o.* from kind o where o.id = l.kind_id offset 0) k
cross join lateral (select o.* from namespace o where o.id = l.namespace_id offset 0) n
order by l.id
