-- retry: jobs that block their key -> in line at once, before those that wait for it
-- $1 uuid[]: jobs that this transaction has queued again, and that are held back until they ask for their key
-- So a key goes on with the job that stopped it, after the time for which a worker has paused it. Where jobs of before its order hold tokens still, it waits for its key.
with back as materialized (
    select l.id, l.stile from live_job l where l.id = any($1::uuid[]) and l.hold = 2 and l.stile is not null
),
blocked as materialized (
    select t.id, t.blocked_by, t.paused_until, t.taken = 0 as free
    from turnstile t
    where t.id = any(array(select stile from back order by stile))
        and (t.id, t.blocked_by) in (select stile, id from back)
        and t.cancels_to is null
    order by t.id
    for update
),
turned as (
    update turnstile t
    set blocked_by = null, taken = t.taken + case when t.taken = 0 then 1 else 0 end, calls_at = null
    where t.id = any(array(select id from blocked))
)
update live_job l
set state = 1, hold = null,
    run_at = greatest(l.run_at, (select b.paused_until from blocked b where b.blocked_by = l.id and b.paused_until > now()))
where l.id = any(array(select blocked_by from blocked where free))
returning l.id, l.run_at
