-- retry: jobs that block their key -> in line at once, before those that wait for it
-- $1 uuid[]: jobs that this transaction has queued again, and that are held back until they ask for their key
-- So a key goes on with the job that stopped it, after the time for which a worker has paused it, and once its rate lets it
-- start (GCRA, as in admit.sql). Where an operator has paused the key, the job waits for it before all others. Where jobs of
-- before its order hold tokens still, it waits for its key.
-- locks: 6
-- has: 2
with back as materialized (
    select l.id, l.semaphore_id, l.run_at from live_job l where l.id = any($1::uuid[]) and l.hold = 2 and l.semaphore_id is not null
),
blocked as materialized (
    select
        t.id, t.blocked_by, t.own_limit is not distinct from 0 as paused, t.taken = 0 as free,
        q.key_rate_period_ms * interval '1 millisecond' / q.key_rate_count as every,
        coalesce(nullif(q.key_rate_burst, 0), greatest(ceil(q.key_rate_count * 50.0 / q.key_rate_period_ms), 1)::int4) as burst,
        case when t.paused_until > now() then t.paused_until end as paused_until, t.tat
    from semaphore t
    join queue q on q.id = t.queue_id
    where t.id = any(array(select semaphore_id from back order by semaphore_id))
        and (t.id, t.blocked_by) in (select semaphore_id, id from back)
        and t.cancels_to is null
    order by t.id
    for update of t
),
given as materialized (
    select
        b.id, b.blocked_by, b.paused, b.free and not b.paused as free, b.every, b.tat,
        greatest(
            (select run_at from back where back.id = b.blocked_by), b.paused_until, b.tat - (b.burst - 1) * b.every
        ) as run_at
    from (
        select
            id, blocked_by, paused, free, every, burst, paused_until,
            case when tat is not null then least(tat, now() + burst * every) end as tat
        from blocked
    ) b
),
turned as (
    update semaphore t
    set blocked_by = null,
        taken = t.taken + case when g.free then 1 else 0 end,
        waiting = t.waiting + case when g.paused then 1 else 0 end,
        tat = case when g.free and g.every is not null then greatest(g.tat, g.run_at) + g.every else t.tat end,
        admit_at = null
    from given g
    where t.id = g.id and t.id = any(array(select id from given))
),
moved as (
    update live_job l
    set state = case when g.paused then 3 else 1 end,
        hold = case when g.paused then 1 end,
        run_at = case
            when g.paused then coalesce(
                (select min(w.run_at) from live_job w where w.semaphore_id = g.id and w.hold = 1), l.run_at
            ) - interval '1 microsecond'
            else g.run_at
        end
    from given g
    where l.id = g.blocked_by and (g.free or g.paused) and l.id = any(array(select blocked_by from given))
    returning l.id, l.run_at, l.hold
)
select id, run_at from moved where hold is null
