-- read: how many jobs of each lane could run, are due later, or are held back
-- $1 int4[]: lanes; $2 int4: due jobs to count at most, for each lane and state; $3 int4: of those due later or held back
-- A job that waits for the turn of its key alone could run: it counts as due.
-- Bounded: a probe for each lane, state and priority. due_since: the first run_at of all that are due, also
-- of those that are not counted.
with priority as materialized (select p::int2 as priority from generate_series(10, -10, -1) p),
due as (
    select w.lane_id
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select
        from priority p
        cross join lateral (
            select from live_job l
            where l.state = 1 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
            limit $2
        ) r
        limit $2
    ) r
    union all
    select w.lane_id
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select
        from priority p
        cross join lateral (
            select from live_job l
            where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
            limit $2
        ) r
        limit $2
    ) r
),
first as (
    select w.lane_id, r.run_at
    from unnest($1::int4[]) w (lane_id)
    cross join priority p
    cross join lateral (
        (select l.run_at from live_job l
         where l.state = 1 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
         order by l.run_at, l.id limit 1)
        union all
        (select l.run_at from live_job l
         where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
         order by l.run_at, l.id limit 1)
    ) r
),
later as (
    select w.lane_id
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select
        from priority p
        cross join lateral (
            select from live_job l
            where l.state = 1 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at > now()
            limit $3
        ) r
        limit $3
    ) r
    union all
    select w.lane_id
    from unnest($1::int4[]) w (lane_id)
    cross join lateral (
        select
        from priority p
        cross join lateral (
            select from live_job l
            where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at > now()
            limit $3
        ) r
        limit $3
    ) r
),
turn as materialized (
    select n.id as lane_id
    from lane n
    join queue q on q.id = n.queue_id
    where n.id = any($1::int4[]) and q.key_fair and q.key_max_running is null and q.key_rate_count is null
),
held as (
    select w.lane_id, r.hold, w.turns
    from (select lane_id, lane_id in (select lane_id from turn) as turns from unnest($1::int4[]) u (lane_id)) w
    cross join lateral (
        select l.hold from live_job l
        where l.state = 3 and l.lane_id = w.lane_id
        limit case when w.turns then $2 else $3 end
    ) r
)
select w.lane_id,
       (select count(*)::int4 from due where due.lane_id = w.lane_id)
           + (select count(*)::int4 from held where held.lane_id = w.lane_id and held.hold = 1 and held.turns) as due,
       (select min(run_at) from first where first.lane_id = w.lane_id) as due_since,
       (select count(*)::int4 from later where later.lane_id = w.lane_id) as later,
       (select count(*)::int4 from held where held.lane_id = w.lane_id) as held,
       (select count(*)::int4 from held where held.lane_id = w.lane_id and held.hold = 1 and not held.turns) as held_by_key,
       now() as now
from unnest($1::int4[]) w (lane_id)
