-- read: how many keys of each queue are blocked by a job that failed
-- $1 int4: how many to count at most
select queue_id, count(*)::int4 as keys
from (select queue_id from semaphore where blocked_by is not null and cancels_to is null limit $1) t
group by queue_id
