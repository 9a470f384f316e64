-- read: how many jobs of each lane could run, are due later, or are held back
-- $1 int4[]: lanes; $2 int4: due jobs to count at most, for each lane and state; $3 int4: of those due later or held back
-- A job that waits for the turn of its key alone could run: it counts as due.
-- Bounded: the priorities that a lane has jobs of are found one from the other, so most lanes take a few probes, and one without
-- jobs one of each state. due_since: the first run_at of all that are due, also of those that are not counted.
-- Arguments stand in sub-selects, where no plan knows them: so PostgreSQL sees that a plan by the arguments is no better, and
-- plans once. To plan this takes ten times as long as to run it.
select w.lane_id, c.ready + c.alone + h.turns as due, c.due_since, c.later, h.held, h.held_by_key, now() as now
from unnest((select $1::int4[])) w (lane_id)
join lane n on n.id = w.lane_id
join queue q on q.id = n.queue_id
cross join lateral (
    with recursive
        ready (priority) as (
            (select l.priority from live_job l where l.state = 1 and l.lane_id = w.lane_id order by l.priority desc limit 1)
            union all
            select (
                select l.priority from live_job l
                where l.state = 1 and l.lane_id = w.lane_id and l.priority < r.priority
                order by l.priority desc limit 1
            )
            from ready r
            where r.priority is not null
        ),
        alone (priority) as (
            (select l.priority from live_job l where l.state = 4 and l.lane_id = w.lane_id order by l.priority desc limit 1)
            union all
            select (
                select l.priority from live_job l
                where l.state = 4 and l.lane_id = w.lane_id and l.priority < r.priority
                order by l.priority desc limit 1
            )
            from alone r
            where r.priority is not null
        )
    select
        (
            select count(*)::int4
            from (
                select
                from ready p
                cross join lateral (
                    select from live_job l
                    where l.state = 1 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
                    limit (select $2::int4)
                ) r
                limit (select $2::int4)
            ) r
        ) as ready,
        (
            select count(*)::int4
            from (
                select
                from alone p
                cross join lateral (
                    select from live_job l
                    where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
                    limit (select $2::int4)
                ) r
                limit (select $2::int4)
            ) r
        ) as alone,
        (
            select count(*)::int4
            from (
                select
                from ready p
                cross join lateral (
                    select from live_job l
                    where l.state = 1 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at > now()
                    limit (select $3::int4)
                ) r
                limit (select $3::int4)
            ) r
        ) + (
            select count(*)::int4
            from (
                select
                from alone p
                cross join lateral (
                    select from live_job l
                    where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at > now()
                    limit (select $3::int4)
                ) r
                limit (select $3::int4)
            ) r
        ) as later,
        least((
            select min(r.run_at)
            from ready p
            cross join lateral (
                select l.run_at from live_job l
                where l.state = 1 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
                order by l.run_at, l.id limit 1
            ) r
        ), (
            select min(r.run_at)
            from alone p
            cross join lateral (
                select l.run_at from live_job l
                where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority and l.run_at <= now()
                order by l.run_at, l.id limit 1
            ) r
        )) as due_since
) c
cross join lateral (
    select
        count(*)::int4 as held,
        count(*) filter (where r.hold = 1 and t.turns)::int4 as turns,
        count(*) filter (where r.hold = 1 and not t.turns)::int4 as held_by_key
    from (select coalesce(q.key_fair and q.key_max_running is null and q.key_rate_count is null, false) as turns) t
    cross join lateral (
        select l.hold from live_job l
        where l.state = 3 and l.lane_id = w.lane_id
        limit case when t.turns then (select $2::int4) else (select $3::int4) end
    ) r
) h
