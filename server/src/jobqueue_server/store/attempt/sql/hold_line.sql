-- pause: in line -> held back by its key, of keys that this transaction has paused
-- $1 semaphores int8[], which this transaction has locked  $2 how many jobs at most int4, of all of these keys
-- Who was let in and has not started yet gives the token back, and takes the place before the key that it had: run_at is
-- what it was at first. Live rows lock with `skip locked` only, since semaphores are locked: what a claim takes now starts.
-- In strict order the one that holds the token keeps it: end_attempt.sql has put it off. A rate counts it again.
-- locks: 6
with line as materialized (
    select l.at, l.id
    from semaphore t
    join queue q on q.id = t.queue_id and q.key_order is null
    cross join lateral (
        select l.ctid as at, l.id
        from live_job l
        where l.semaphore_id = t.id and l.hold is null and l.state in (1, 4)
        limit $2::int4
        for update skip locked
    ) l
    where t.id = any($1::int8[])
    limit $2::int4
),
moved as (
    update live_job l
    set state = 3, hold = 1, run_at = least(l.run_at, j.run_at)
    from line s
    join job j on j.id = s.id
    where l.ctid = s.at
    returning l.semaphore_id
),
counted as materialized (
    select array_agg(semaphore_id order by semaphore_id) as ids, array_agg(n order by semaphore_id) as n
    from (select semaphore_id, count(*)::int4 as n from moved group by semaphore_id) m
)
update semaphore t
set taken = t.taken - ((select n from counted))[width_bucket(t.id, (select ids from counted))],
    waiting = t.waiting + ((select n from counted))[width_bucket(t.id, (select ids from counted))],
    admit_at = t.paused_until
where t.id = any((select ids from counted)::int8[])
returning t.id
