-- read: how many jobs run in each lane, and since when
-- $1 int4: rows to count at most, over all lanes
-- What runs is bounded by the slots of all workers together. Ordered by the session, since that is the partial index
-- of leased jobs; without it the planner may scan the backlog.
select r.lane_id, count(*)::int4 as jobs, min(r.changed_at) as running_since, now() as now,
       (sum(count(*)) over ())::int4 as scanned
from (
    select lane_id, changed_at
    from live_job
    where state = 2
    order by session_id
    limit $1
) r
group by r.lane_id
