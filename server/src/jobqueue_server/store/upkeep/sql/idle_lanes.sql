-- retention: read lanes that no server made sure of for long, of queues of which nothing is said, by number
-- $1 timestamptz: for how long; $2 int4: those after this one; $3 int4: so many at most
select l.id
from lane l
join queue q on q.id = l.queue_id
where l.id > $2::int4 and l.used_at < $1 and q.revision = 1 and q.paused_at is null
    and not exists (select from queue_key s where s.queue_id = q.id)
order by l.id
limit $3::int4
