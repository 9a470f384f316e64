-- read: the head of each line, due or not
-- $1 lane_id int4[]  $2 priority int2[]  $3 floor timestamptz[]
-- One look-up in the index of ready jobs each. Finds what this server was not told of: retries, schedules, and what
-- other servers stored.
select w.lane_id, w.priority, head.run_at, head.run_at <= now() as due
from unnest($1::int4[], $2::int2[], $3::timestamptz[]) as w (lane_id, priority, floor)
cross join lateral (
    select l.run_at
    from live_job l
    where l.state = 1 and l.lane_id = w.lane_id and l.priority = w.priority and l.run_at >= w.floor
    order by l.run_at, l.id
    limit 1
) head
