-- read: the lanes in which an isolated job waits
-- $1 lane_id int4[]
select w.lane_id, min(head.run_at) as run_at, min(head.run_at) <= now() as due
from unnest($1::int4[]) as w (lane_id)
cross join generate_series(-10, 10) as p (priority)
cross join lateral (
    select l.run_at
    from live_job l
    where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority::int2
    order by l.run_at, l.id
    limit 1
) head
group by w.lane_id
