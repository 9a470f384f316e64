-- read: one job with all that can hold it back, workers aside
-- $1 uuid: the job; $2 int4: namespace; $3 int4[]: lanes whose jobs compete with it, where they are of its queue;
-- $4 int4: how many jobs before it to count at most
-- One statement, one snapshot. ahead: due jobs of a higher priority, and earlier ones of its own, in its own lane and in
-- those of $3; null where it is in no line. Bounded: a probe for each lane and priority, and $4 rows in all. A range over
-- the priorities would read those that are due later too. A job that runs alone is behind jobs of its sort.
-- The states are literals, since a parameter would bar the partial indexes.
-- Of a unique job: who holds its name, by the rule of judge_names.sql. name_holder is null where none does.
-- Arguments stand in sub-selects, where no plan knows them: so PostgreSQL sees that a plan by the arguments is no better, and
-- plans once. To plan this takes ten times as long as most jobs take to be explained.
with own as materialized (
    select j.id, j.lane_id, q.id as queue_id, q.name as queue, k.name as kind, l.priority, l.state, l.hold, l.run_at,
           l.attempts, l.failures, l.losses, l.max_attempts, l.changed_at, l.deadline, l.session_id,
           l.cancel_requested_at is not null as cancel_requested,
           f.status as ended, f.reason, f.finished_at,
           q.paused_at, q.paused_by, q.pause_reason, octet_length(j.payload) as size, k.id as kind_id,
           q.max_running as queue_max_running, k.max_running as kind_max_running, coalesce(k.slot_weight, 1) as weight,
            j.unique_name,
           case when q.rate_count is not null
               then next_of_rate(r.tat, now(), q.rate_count, q.rate_period_ms, q.rate_burst) end as queue_next_start,
           case when k.rate_count is not null
               then next_of_rate(o.tat, now(), k.rate_count, k.rate_period_ms, k.rate_burst) end as kind_next_start
    from job j
    join lane on lane.id = j.lane_id
    join queue q on q.id = lane.queue_id
    join kind k on k.id = lane.kind_id
    left join live_job l on l.id = j.id
    left join finished_job f on f.id = j.id
    left join queue_rate r on r.queue_id = q.id
    left join kind_rate o on o.kind_id = k.id
    where j.id = (select $1::uuid) and (l.id is not null or f.id is not null)
        and lane.namespace_id = (select $2::int4)
),
beside as materialized (
    select lane.id
    from own
    join lane on lane.id = own.lane_id or (lane.id = any((select $3::int4[])::int4[]) and lane.queue_id = own.queue_id)
    where own.state in (1, 4) and own.run_at <= now()
),
ahead as (
    select count(*)::int4 as jobs
    from (
        select
        from own
        cross join beside
        cross join lateral (
            (select 1
             from generate_series(10, own.priority + 1, -1) as p (priority)
             cross join lateral (
                 select
                 from live_job l
                 where own.state = 1 and l.state = 1 and l.lane_id = beside.id and l.priority = p.priority::int2
                     and l.run_at <= now()
                 limit (select $4::int4)
             ) higher)
            union all
            (select 1
             from live_job l
             where own.state = 1 and l.state = 1 and l.lane_id = beside.id and l.priority = own.priority
                 and (l.run_at, l.id) < (own.run_at, own.id)
             limit (select $4::int4))
            union all
            (select 1
             from generate_series(10, own.priority, -1) as p (priority)
             cross join lateral (
                 select
                 from live_job l
                 where own.state = 4 and l.state = 4 and l.lane_id = beside.id and l.priority = p.priority::int2
                     and l.run_at <= now()
                     and (l.priority > own.priority or (l.run_at, l.id) < (own.run_at, own.id))
                 limit (select $4::int4)
             ) alone)
        ) before
        limit (select $4::int4)
    ) bounded
),
-- Those that count in what the queue lets run, and in what the kind does.
counted as (
    select count(*)::int4 as jobs
    from (
        select
        from own
        join lane on lane.queue_id = own.queue_id
        cross join lateral (
            select
            from live_job l
            where case when l.state = 2 then l.counted end and l.lane_id = lane.id
            limit own.queue_max_running
        ) runs
        where own.queue_max_running is not null
        limit 1000000
    ) bounded
),
counted_of_kind as (
    select count(*)::int4 as jobs
    from (
        select
        from own
        join lane on lane.kind_id = own.kind_id
        cross join lateral (
            select
            from live_job l
            where case when l.state = 2 then l.counted end and l.lane_id = lane.id
            limit own.kind_max_running
        ) runs
        where own.kind_max_running is not null
        limit 1000000
    ) bounded
)
select own.*, s.name as worker, (select jobs from ahead) as ahead, now() as now,
       (select jobs from counted) as queue_counted, (select jobs from counted_of_kind) as kind_counted,
       t.outcome, t.reason as last_reason, left(t.message, 1000) as last_error,
       own.unique_name ->> 'key' as name_key, n.job_id as name_holder, n.lane_id as name_lane,
       n.until as name_until, n.holds_until as name_period
from own
left join worker_session s on s.id = own.session_id
left join lateral (
    select
        u.job_id, u.until, case when u.holds_until > now() then u.holds_until end as holds_until,
        (select h.lane_id from job h where h.id = u.job_id limit 1) as lane_id
    from unique_hold u
    where u.digest = decode(own.unique_name ->> 'digest', 'hex')
        and
            -- use name-is-held
            (
                coalesce(u.holds_until > now(), false)
                or exists (
                    select from live_job l
                    where l.id = u.job_id and (u.until = 2 or (u.until = 1 and l.state <> 2))
                )
            )
            -- end of name-is-held
) n on true
left join lateral (
    select a.outcome, a.reason, a.message from attempt a where a.job_id = (select $1::uuid) order by a.attempt desc limit 1
) t on true
