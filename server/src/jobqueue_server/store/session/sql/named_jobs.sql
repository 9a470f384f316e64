-- read: what a resume wants to know of the jobs that a worker names
-- $1 id uuid[]; $2, $3 the smallest and the largest of them, which leave out the partitions that hold none;
-- $4 int4: namespace
select j.id, j.lane_id, octet_length(j.payload) as size
from job j
where j.id = any($1::uuid[]) and j.id between $2::uuid and $3::uuid
    and (select n.namespace_id = $4 from lane n where n.id = j.lane_id)
