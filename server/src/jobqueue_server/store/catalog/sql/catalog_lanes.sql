-- catalog: every lane of every namespace with its names
-- A few rows a queue; read about once a second, so the gates set by other servers are known within that time.
select l.id, l.queue_id, l.kind_id, l.gated, q.name as queue, k.name as kind,
       n.id as namespace_id, n.name as namespace
from lane l
join queue q on q.id = l.queue_id
join kind k on k.id = l.kind_id
join namespace n on n.id = coalesce(l.namespace_id, q.namespace_id)
order by l.id
