-- retry: many jobs that have ended, into another queue
-- $1 uuid[]: the jobs, whose finished rows this transaction has locked; $2, $3 uuid: the smallest of them, the greatest
-- $4 int4: namespace; $5 text: the queue, which has a lane for each of their kinds
-- Its lane is the one thing of a stored job that is ever changed, and only while it is in no line. A job that is in the
-- queue already is left as it is.
update job j
set lane_id = o.id
from lane n
join lane o on o.kind_id = n.kind_id
join queue q on q.id = o.queue_id
where j.id = any($1::uuid[]) and j.id >= $2 and j.id <= $3
    and n.id = j.lane_id and o.id <> n.id
    and q.namespace_id = $4 and q.name = $5
