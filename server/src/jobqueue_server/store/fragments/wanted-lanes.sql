-- The lanes of a namespace that a reader asks for, and of which it may read jobs.
-- blanks: columns = l.id
select {columns}
from lane l
join queue q on q.id = l.queue_id
join kind k on k.id = l.kind_id
where l.namespace_id = :namespace
    and (:queue::text is null or q.name = :queue) and (:kind::text is null or k.name = :kind)
    and (:queues::text[] is null
        or exists (select from unnest(:queues, :kinds::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
