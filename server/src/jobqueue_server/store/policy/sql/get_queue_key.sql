-- read: a key of a queue, with the jobs that were let in
-- $1 int4: namespace; $2 text: queue; $3 text: the key; $4 int4: how many of these jobs at most
-- Bounded reads of indexes. No row: there is no such queue. A key has no row in either table if nothing is known of it.
with named as materialized (
    select semaphore_of(q.id, $3::text) as id, q.key_max_running, q.key_rate_count,
        coalesce(nullif(q.key_rate_burst, 0), greatest(ceil(q.key_rate_count * 50.0 / q.key_rate_period_ms), 1)::int4) as burst
    from queue q
    where q.namespace_id = $1 and q.name = $2
),
holder as materialized (
    select h.id, h.state, h.session_id, h.changed_at, h.run_at
    from named n
    -- use holders-of-key (key = n.id)
    cross join lateral (
        select l.id,  l.state, l.session_id, l.changed_at, l.run_at
        from live_job l where l.semaphore_id = n.id and l.hold is null limit 1000
    ) h
    order by h.state = 2 desc, h.run_at, h.id
    -- end of holders-of-key
    limit $4::int4
)
select
    $3::text as name, k.max_running, k.paused_at, k.paused_by, k.revision,
    coalesce(k.max_running, n.key_max_running) as allowed,
    coalesce(t.taken, 0) as taken, coalesce(t.waiting, 0) as waiting,
    -- While as many stand in line as the rate lets in at once, admit.sql asks again and again: that is no time to tell.
    case
        when n.key_rate_count is not null and k.paused_at is null and n.burst > (
            select count(*)
            from (select from live_job l where l.semaphore_id = n.id and l.hold is null and l.state in (1, 4) limit n.burst) line
        )
            then t.admit_at
    end as next_start_at,
    case when t.paused_until > now() then t.paused_until end as paused_until,
    case when t.cancels_to is null then t.blocked_by end as blocked_by,
    (select array_agg(h.id order by h.state = 2 desc, h.run_at, h.id) from holder h) as holders,
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
from named n
left join semaphore t on t.id = n.id
left join queue_key k on k.id = n.id
