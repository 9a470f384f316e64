-- pause: in line, later for it -> in line, due now; of keys whose pause by a worker is over before its time
-- $1 semaphores int8[], which this transaction has locked
-- In strict order the job that holds the token waits in line until the end of the pause, which end_attempt.sql and
-- unblock_retried.sql have made its run_at. One that waits longer, or for a time of its own, is left. Live rows lock with
-- `skip locked` only, since semaphores are locked: one that a cancel has is about to go.
-- locks: 6
with put_off as materialized (
    select l.at
    from semaphore t
    cross join lateral (
        select l.ctid as at
        from live_job l
        where l.semaphore_id = t.id and l.hold is null and l.state in (1, 4) and l.run_at = t.paused_until
        for update skip locked
    ) l
    where t.id = any($1::int8[]) and t.paused_until > now()
),
moved as (
    update live_job l set run_at = now() from put_off p where l.ctid = p.at
    returning l.lane_id, l.priority, l.run_at, l.state = 4 as isolated
),
ended as (
    update semaphore t set paused_until = null, admit_at = case when t.waiting > 0 then now() end
    where t.id = any($1::int8[]) and t.paused_until > now()
    returning t.id, t.waiting > 0 as calls
)
select
    (select array_agg(id) filter (where calls) from ended) as calling,
    (select array_agg(lane_id) from moved) as lanes,
    (select array_agg(priority) from moved) as priorities,
    (select array_agg(run_at) from moved) as run_at,
    (select array_agg(isolated) from moved) as isolated
