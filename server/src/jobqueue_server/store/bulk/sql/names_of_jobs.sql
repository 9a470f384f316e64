-- read: the names of unique jobs
-- $1 uuid[]: the jobs; $2, $3 uuid: the smallest of them, the greatest; $4 int4: namespace
-- A job keeps its name as long as it is there, so nothing is locked. $2 and $3 leave out all partitions but theirs.
select j.id, decode(j.unique_name ->> 'digest', 'hex') as digest, (j.unique_name ->> 'until')::int2 as until,
       (j.unique_name ->> 'scope')::int2 as scope, q.name as queue, k.name as kind
from job j
join lane n on n.id = j.lane_id
join queue q on q.id = n.queue_id
join kind k on k.id = n.kind_id
where j.id = any($1::uuid[]) and j.id >= $2 and j.id <= $3 and j.unique_name is not null
    and n.namespace_id = $4
order by j.id
