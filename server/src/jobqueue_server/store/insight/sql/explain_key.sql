-- read: what holds back a job that waits for its key, or will ask for it when it is let go
-- $1 uuid: the job, which a statement with the namespace has found; $2 int4: holders at most; $3 int4: jobs before it at most
-- Bounded reads of one index: a condition with `or` would be no bound of it, and read all that wait after the job. No row: it is held back no longer, or its queue limits no key.
-- Arguments stand in sub-selects, so that PostgreSQL plans once, as in explain_job.sql.
with own as materialized (
    select l.id, l.semaphore_id, l.priority, l.run_at, j.key, t.taken, t.admit_at, q.key_rate_count,
        k.max_running as own, k.paused_at, k.paused_by, q.key_order is not null as strict, t.blocked_by,
        (select h.lane_id from job h where h.id = t.blocked_by limit 1) as blocking_lane,
        coalesce(case when q.key_order is null then k.max_running end, q.key_max_running) as max_running,
        case when t.paused_until > now() then t.paused_until end as paused_until,
        coalesce(nullif(q.key_rate_burst, 0), greatest(ceil(q.key_rate_count * 50.0 / q.key_rate_period_ms), 1)::int4) as burst,
        t.cancels_to is not null as cancels, coalesce(q.key_fair, false) as fair
    from live_job l
    join job j on j.id = l.id
    join semaphore t on t.id = l.semaphore_id
    join queue q on q.id = t.queue_id
    left join queue_key k on k.id = t.id
    where l.id = (select $1::uuid) and l.hold is not null
),
holder as materialized (
    select h.id, h.lane_id, h.state, h.session_id, h.changed_at, h.run_at
    from own
    -- use holders-of-key (key = own.semaphore_id; lane = l.lane_id,)
    cross join lateral (
        select l.id, l.lane_id, l.state, l.session_id, l.changed_at, l.run_at
        from live_job l where l.semaphore_id = own.semaphore_id and l.hold is null limit 1000
    ) h
    order by h.state = 2 desc, h.run_at, h.id
    -- end of holders-of-key
    limit (select $2::int4)
),
ahead as (
    select count(*)::int4 as jobs
    from (
        select
        from own
        cross join lateral (
            (select 1
             from live_job l
             where l.semaphore_id = own.semaphore_id and l.hold = 1 and l.priority = own.priority and (l.run_at, l.id) < (own.run_at, own.id)
             limit (select $3::int4))
            union all
            (select 1
             from live_job l
             where l.semaphore_id = own.semaphore_id and l.hold = 1 and l.priority > own.priority
             limit (select $3::int4))
        ) before
        limit (select $3::int4)
    ) bounded
)
select
    own.key, own.taken, own.max_running, own.own is not null as of_its_own, own.paused_at, own.paused_by,
    own.key_rate_count is not null as rated, own.admit_at, own.strict, own.blocked_by, own.blocking_lane, own.cancels, own.fair,
    own.paused_until,
    (select jobs from ahead) as ahead,
    -- admit.sql lets none in while as many of a key with a rate stand in line, and asks again and again.
    own.key_rate_count is not null and own.burst <= (
        select count(*)
        from (
            select from live_job l where l.semaphore_id = own.semaphore_id and l.hold is null and l.state in (1, 4) limit own.burst
        ) line
    ) as crowded,
    (select array_agg(h.id order by h.state = 2 desc, h.run_at, h.id) from holder h) as holders,
    (select array_agg(h.lane_id order by h.state = 2 desc, h.run_at, h.id) from holder h) as lanes,
    -- use workers-of-holders
    (
        select array_agg(coalesce((select s.name from worker_session s where s.id = h.session_id), '')
            order by h.state = 2 desc, h.run_at, h.id)
        from holder h
    ) as workers,
    (
        select array_agg(case when h.state = 2 then h.changed_at else h.run_at end
            order by h.state = 2 desc, h.run_at, h.id)
        from holder h
    ) as since
    -- end of workers-of-holders
from own
