-- release: held back by hand -> queued, retrying, or held back until its run_at and then by its key
-- $1 uuid: the job; $2 int4: namespace
-- No row: the job is not held back by hand, or there is none. Of two releases the second waits for the row and finds that.
-- It goes to the end of its line, or waits for its run_at where that is later. run_at is never stored in the past.
-- Its queue may limit keys since it was stored; then it asks for its key now.
-- locks: 2
with limited as materialized (
    select job.id, job.lane_id, semaphore_of(q.id, job.key) as semaphore_id
    from job
    join lane n on n.id = job.lane_id
    join queue q on q.id = n.queue_id
    where job.id = $1
        and q.limits_keys
),
asks as materialized (
    select l.id, coalesce(l.semaphore_id, (select i.semaphore_id from limited i where i.lane_id = l.lane_id)) as semaphore_id
    from live_job l
    where l.id = $1
    for update
)
update live_job l
set state = case when a.semaphore_id is not null then 3 when l.losses + l.unseen >= 2 then 4 else 1 end,
    hold = case when a.semaphore_id is not null then 2 end,
    semaphore_id = a.semaphore_id,
    changed_at = now(),
    run_at = greatest(l.run_at, now())
from asks a
where l.id = $1
    and a.id = l.id
    and l.state = 3
    and l.hold = 4
    and (select n.namespace_id = $2 from lane n where n.id = l.lane_id)
returning l.lane_id, l.priority, l.run_at, l.state = 4 as isolated, l.state = 3 as held
