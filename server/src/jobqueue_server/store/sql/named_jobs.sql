-- read: what a resume wants to know of the jobs that a worker names
-- $1 id uuid[]; $2, $3 the smallest and the largest of them, which leave out the partitions that hold none.
select id, lane_id, octet_length(payload) as size
from job
where id = any($1::uuid[]) and id between $2::uuid and $3::uuid
