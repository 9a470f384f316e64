-- lane: made by its first use, gated if its queue is paused
-- $1 int4: namespace; $2 text: queue; $3 text: kind
-- The share lock on the queue makes this wait for a pause that is under way, and then see it; a pause that comes later
-- waits for this and finds the lane. Without it a lane could be born open in a paused queue.
insert into lane (queue_id, kind_id, gated, namespace_id)
select q.id, k.id, q.paused_at is not null, q.namespace_id
from queue q
join kind k on k.namespace_id = q.namespace_id
where q.namespace_id = $1 and q.name = $2 and k.name = $3
for share of q
on conflict (queue_id, kind_id) do nothing
