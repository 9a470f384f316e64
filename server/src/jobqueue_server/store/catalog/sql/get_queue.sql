-- read: a queue with its lanes
-- $1 int4: namespace; $2 text: name
select q.name, q.paused_at is not null as paused,
       array(select l.id from lane l where l.queue_id = q.id order by l.id) as lane_ids
from queue q
where q.namespace_id = $1 and q.name = $2
