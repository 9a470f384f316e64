-- read: how many jobs wait in each lane, and since when
-- $1 int4[]: lanes; $2 int4: rows to count at most, for each lane and each of the two ready states and the one held back
-- Answers a row for each lane and status, those held back included: jobs, capped (there are more than were counted),
-- waiting_since (the smallest run_at that is due, of those not held back; null: none is). Then one for each lane and hold.
-- Bounded: $2 rows of each partial index a lane, and a probe for each of the 21 priorities, so that the oldest job is
-- found also where the count ends before it. The states are literals, since a parameter would bar the partial indexes.
with counted as materialized (
    select w.lane_id, r.failures + r.losses > 0 as retrying, null::int2 as hold, r.run_at, r.n
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select l.failures, l.losses, l.run_at, row_number() over () as n
        from live_job l
        where l.lane_id = w.lane_id and l.state = 1
        order by l.priority, l.run_at, l.id
        limit $2 + 1
    ) r
    union all
    select w.lane_id, r.failures + r.losses > 0, null, r.run_at, r.n
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select l.failures, l.losses, l.run_at, row_number() over () as n
        from live_job l
        where l.lane_id = w.lane_id and l.state = 4
        order by l.priority, l.run_at, l.id
        limit $2 + 1
    ) r
    union all
    select w.lane_id, r.failures + r.losses > 0, r.hold, r.run_at, r.n
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select l.failures, l.losses, l.hold, l.run_at, row_number() over () as n
        from live_job l
        where l.lane_id = w.lane_id and l.state = 3
        order by l.run_at, l.id
        limit $2 + 1
    ) r
),
first_of_priority as (
    select w.lane_id, r.failures + r.losses > 0 as retrying, r.run_at
    from unnest($1::int4[]) w (lane_id)
    cross join generate_series(-10, 10) p (priority)
    cross join lateral (
        select l.failures, l.losses, l.run_at
        from live_job l
        where l.lane_id = w.lane_id and l.priority = p.priority::int2 and l.state = 1
        order by l.run_at, l.id
        limit 1
    ) r
),
seen as (
    select lane_id, retrying, hold, run_at, n from counted
    union all
    select lane_id, retrying, null, run_at, null from first_of_priority
)
select lane_id, case when retrying then 4 else 1 end as status, null::int2 as hold,
       count(*) filter (where n <= $2)::int4 as jobs,
       coalesce(bool_or(bool_or(n > $2)) over (partition by lane_id), false) as capped,
       min(run_at) filter (where run_at <= now() and hold is null) as waiting_since,
       now() as now
from seen
group by lane_id, retrying
union all
select lane_id, null, hold, count(*) filter (where n <= $2)::int4,
       coalesce(bool_or(bool_or(n > $2)) over (partition by lane_id), false), null, now()
from counted
where hold is not null
group by lane_id, hold
