-- catalog: every lane with its names
-- $1 int4: namespace
-- A few rows a queue; read about once a second, so the gates set by other servers are known within that time.
select l.id, l.queue_id, l.kind_id, l.gated, q.name as queue, k.name as kind
from lane l
join queue q on q.id = l.queue_id
join kind k on k.id = l.kind_id
where q.namespace_id = $1
order by l.id
