-- cancel: held back by their key -> cancelled, of keys whose job failed (CANCEL_REST)
-- $1 how many jobs at most int4
-- Who came after the failure has a later run_at than `cancels_to`, and stays. Once none is left that came before, the key goes
-- on. Semaphores first, then live rows with `skip locked` only, as in admit.sql: one that a cancel has is there the next time.
with called as materialized (
    select t.id, t.cancels_to, t.waiting
    from semaphore t
    where t.cancels_to is not null
    order by t.id
    limit $1::int4
    for update skip locked
),
share as materialized (
    select
        c.*,
        greatest(least(c.waiting, $1::int4 - (sum(c.waiting) over (order by c.id) - c.waiting)), 0)::int4 as take
    from called c
),
next as materialized (
    select l.at
    from share s
    cross join lateral (
        select l.ctid as at
        from live_job l
        where l.semaphore_id = s.id and l.hold = 1 and l.run_at <= s.cancels_to
        order by l.priority desc, l.run_at, l.id
        limit s.take
        for update skip locked
    ) l
),
gone as (
    delete from live_job l using next n where l.ctid = n.at
    returning l.id, l.lane_id, l.attempts, l.failures, l.losses, l.semaphore_id
),
ended as (
    insert into finished_job (id, attempts, status, failures, losses, reason)
    select id, attempts, 6, failures, losses, 'KEY_CANCELLED' from gone
),
counted as materialized (
    select id, sum(got)::int4 as got, sum(there)::int4 as there
    from (
        select
            s.id, 0 as got,
            (
                select count(*)::int4
                from (
                    select from live_job l
                    where l.semaphore_id = s.id and l.hold = 1 and l.run_at <= s.cancels_to
                    limit s.take + 1
                ) l
            ) as there
        from share s
        union all
        select semaphore_id, 1, 0 from gone
    ) each
    group by id
),
done as materialized (
    select
        array_agg(id order by id) as ids,
        array_agg(got order by id) as got,
        array_agg(there > got order by id) as more
    from counted
),
turned as (
    update semaphore t
    set waiting = t.waiting - ((select got from done))[width_bucket(t.id, (select ids from done))],
        blocked_by = case when ((select more from done))[width_bucket(t.id, (select ids from done))] then t.blocked_by end,
        cancels_to = case when ((select more from done))[width_bucket(t.id, (select ids from done))] then t.cancels_to end,
        admit_at = case
            when t.waiting > ((select got from done))[width_bucket(t.id, (select ids from done))] then now()
        end
    where t.id = any((select ids from done)::int8[])
    returning t.id, t.admit_at, t.blocked_by
)
select
    (select array_agg(id order by id) from gone) as jobs,
    (select array_agg(lane_id order by id) from gone) as lanes,
    (select array_agg(id) from turned where blocked_by is null and admit_at is not null) as calling,
    coalesce((select bool_or(there > got) from counted), false) as more
