-- lane: made by the first operation that brings a kind into a queue, closed as intern_lane has it; or made sure of
-- $1 uuid[]: the jobs; $2, $3 uuid: the smallest of them, the greatest
-- $4 int4: namespace; $5 text: the queue
-- As intern_lane, for the kinds of these jobs. Where no lane is missing or was long not made sure of, the queue is not locked.
-- locks: 4 5
insert into lane (queue_id, kind_id, closed, namespace_id)
select q.id, k.id, closes(q, k), q.namespace_id
from queue q
join kind k on k.namespace_id = q.namespace_id
where q.namespace_id = $4 and q.name = $5
    and k.id = any(array(
        select n.kind_id
        from job j join lane n on n.id = j.lane_id
        where j.id = any($1::uuid[]) and j.id >= $2 and j.id <= $3
    ))
    and not exists (
        select from lane o where o.queue_id = q.id and o.kind_id = k.id and o.used_at > now() - interval '12 hours'
    )
for share of q, k
on conflict (queue_id, kind_id) do update set used_at = now()
