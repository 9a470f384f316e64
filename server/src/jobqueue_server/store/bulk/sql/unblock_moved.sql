-- retry: keys that are blocked by jobs that this transaction is about to queue elsewhere -> calling
-- $1 uuid[]: the jobs, whose finished rows this transaction has locked; $2, $3 uuid: the smallest of them, the greatest
-- $4 text: the queue into which they go, in their namespace; a job that is there already blocks its key still
-- Behind what blocks a key its other jobs wait, and here it never comes back.
-- locks: 6
with left_behind as materialized (
    select semaphore_of(n.queue_id, j.key) as id
    from job j
    join lane n on n.id = j.lane_id
    join queue q on q.id = n.queue_id
    where j.id = any($1::uuid[]) and j.id >= $2 and j.id <= $3 and j.key is not null and q.name <> $4
),
-- use unblock (keys = array(select id from left_behind); jobs = $1)
blocked as materialized (
    select t.id
    from semaphore t
    where t.id = any(array(select id from left_behind)) and t.blocked_by = any($1::uuid[]) and t.cancels_to is null
    order by t.id
    for update
)
update semaphore t set blocked_by = null, admit_at = case when t.waiting > 0 then now() end
where t.id = any(array(select id from blocked))
returning t.id
-- end of unblock
