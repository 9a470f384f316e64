-- read: what a delivery carries of jobs that were just claimed
-- $1 id uuid[]; $2, $3 the smallest and the largest of them, which leave out the partitions that hold none.
select id, payload,
    -- fields: delivered
    key, priority, max_attempts, timeout_ms, labels::text as labels, headers
    -- end of fields
from job
where id = any($1::uuid[]) and id between $2::uuid and $3::uuid
