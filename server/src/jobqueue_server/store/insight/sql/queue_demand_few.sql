-- read: as queue_demand, of those of the lanes that have few jobs, and none that is held back or runs alone
-- $1 int4[]: lanes
-- It reads up to 101 jobs of a lane, where the long statement finds out where to count; most of that one's time with few jobs
-- goes to its beginning, with its thirty parts. Sub-selects with a limit, since joined they could be read whole. The argument
-- stands in one as there, so that it is planned once.
select w.lane_id, c.due, c.due_since, c.later, 0 as held, 0 as held_by_key, now() as now
from unnest((select $1::int4[])) w (lane_id)
cross join lateral (
    select
        count(*) filter (where r.run_at <= now())::int4 as due,
        count(*) filter (where r.run_at > now())::int4 as later,
        min(r.run_at) filter (where r.run_at <= now()) as due_since,
        count(*) as jobs
    from (
        select l.run_at from live_job l
        where l.state = 1 and l.lane_id = w.lane_id
        limit 101
    ) r
) c
where c.jobs <= 100
    and (select l.lane_id from live_job l where l.state = 3 and l.lane_id = w.lane_id limit 1) is null
    and (select l.lane_id from live_job l where l.state = 4 and l.lane_id = w.lane_id limit 1) is null
