-- pause: keys of leased jobs -> none is let in before a time
-- $1 id uuid[]  $2 attempt int4[]  $3 session_id int8[], which fence as in end_attempt.sql
-- $4 until int8[]: the pause, in ms from now on; a longer one that is there stays
-- The first statement of the transaction that ends these attempts: it locks their live rows in the order of their ids, then
-- all semaphores that their ends will lock, in the order of theirs, as each other statement does.
-- Only where the queue limits keys: else no one asks at a semaphore. The job's own key, also where the job came before the limit.
-- Where the queue limits keys no longer, the semaphore that has the job's token is locked alone (pause_ms null).
-- A key that jobs wait for calls at that time, so no end of a job that runs has to.
-- locks: 2 6
with told as materialized (
    select * from unnest($1::uuid[], $2::int4[], $3::int8[], $4::int8[]) as t (id, attempt, session_id, pause_ms)
),
held as materialized (
    select l.id, l.lane_id, l.semaphore_id
    from live_job l
    where l.id = any($1::uuid[])
        and (l.id, l.attempts, l.session_id) in (select id, attempt, session_id from told)
    order by l.id
    for update
),
each as materialized (
    select semaphore_of(q.id, j.key) as id, q.id as queue_id, t.pause_ms
    from held h
    join told t on t.id = h.id
    join job j on j.id = h.id and j.key is not null
    join lane n on n.id = h.lane_id
    join queue q on q.id = n.queue_id
    where q.limits_keys
),
named as materialized (
    select id, min(queue_id) as queue_id, max(pause_ms) as pause_ms
    from (
        select id, queue_id, pause_ms from each
        union all
        select h.semaphore_id, n.queue_id, null
        from held h
        join lane n on n.id = h.lane_id
        where h.semaphore_id is not null and h.semaphore_id not in (select id from each)
    ) e
    group by id
),
turned as (
    insert into semaphore as t (id, queue_id, taken, waiting, granted, paused_until)
    select n.id, n.queue_id, 0, 0, 0, now() + n.pause_ms * interval '1 millisecond'
    from named n
    order by n.id
    on conflict (id) do update set
        paused_until = greatest(t.paused_until, excluded.paused_until),
        admit_at = case
            when excluded.paused_until is null then t.admit_at
            when t.waiting > 0 then greatest(t.paused_until, excluded.paused_until)
        end
    returning t.id
)
select id from turned where id in (select id from each)
