-- lane: made by its first use, closed if its queue is paused, or it or the kind has limits; or made sure of
-- $1 int4: namespace; $2 text: queue; $3 text: kind
-- The share locks make this wait for a pause or limits that are under way, and then see them; what comes later
-- waits for this and finds the lane. Without them a lane could be born open in a paused queue.
-- No row: the queue or the kind was forgotten since this transaction made sure of it.
-- locks: 4 5
insert into lane (queue_id, kind_id, closed, namespace_id)
select q.id, k.id, closes(q, k), q.namespace_id
from queue q
join kind k on k.namespace_id = q.namespace_id
where q.namespace_id = $1 and q.name = $2 and k.name = $3
for share of q, k
on conflict (queue_id, kind_id) do update
    set used_at = case when lane.used_at < now() - interval '1 hour' then now() else lane.used_at end
returning id
