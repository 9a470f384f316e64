-- schedule: due -> about to fire
-- $1 int4: how many at most; $2 int4[]: those that this server fires or tries apart
-- Where no more are due than that, all are taken. Else principals take turns: the oldest of each, then the second of each. They
-- are found by leaps over the index, so that it does not matter how many schedules one of them has.
-- Rows that another server fires are passed over, for which there are twice as many to choose from. One that it has just fired
-- is looked at again as it is now: it is not due.
with recursive first as materialized (
    select s.id, s.next_at from schedule s
    where s.paused_at is null and s.next_at is not null and s.next_at <= now() and s.id <> all($2::int4[])
        and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
    order by s.next_at
    limit $1::int4 + 1
),
many as materialized (
    select count(*) > $1::int4 as are from first
),
-- use makers-of-schedules (only = and (select m.are from many m))
maker (namespace_id, principal) as (
    (
        select s.namespace_id, s.principal from schedule s
        where s.paused_at is null and s.next_at is not null and (select m.are from many m)
        order by s.namespace_id, s.principal limit 1
    )
    union all
    select n.namespace_id, n.principal
    from maker m
    cross join lateral (
        select s.namespace_id, s.principal from schedule s
        where s.paused_at is null and s.next_at is not null and (s.namespace_id, s.principal) > (m.namespace_id, m.principal)
        order by s.namespace_id, s.principal limit 1
    ) n
)
-- end of makers-of-schedules
,
waiting as materialized (
    select m.namespace_id, m.principal
    from maker m
    cross join lateral (
        select from schedule s
        where s.namespace_id = m.namespace_id and s.principal = m.principal
            and s.paused_at is null and s.next_at is not null and s.next_at <= now() and s.id <> all($2::int4[])
        order by s.namespace_id, s.principal, s.next_at
        limit 1
    ) d
    where m.namespace_id in (select n.id from namespace n where n.disabled_at is null)
),
turn as (
    select d.id, d.next_at, row_number() over (partition by w.namespace_id, w.principal order by d.next_at) as nth
    from waiting w
    cross join lateral (
        select s.id, s.next_at from schedule s
        where s.namespace_id = w.namespace_id and s.principal = w.principal
            and s.paused_at is null and s.next_at is not null and s.next_at <= now() and s.id <> all($2::int4[])
        order by s.next_at
        limit (select greatest(1, 2 * $1::int4 / count(*)) from waiting)
    ) d
),
chosen as (
    select f.id, f.next_at, 0 as nth from first f where not (select m.are from many m)
    union all
    select t.id, t.next_at, t.nth from turn t
),
wanted as materialized (
    select array_agg(c.id order by c.nth, c.next_at) as ids from chosen c
)
select s.id, s.namespace_id, s.name, s.queue, s.kind, s.spec, s.job, s.payload, s.policy, s.next_at, s.last_tick, s.open,
    s.buffered_at, s.buffered_nth, s.skipped_in_a_row, s.failures_in_a_row, s.runs, s.principal, s.credential, now() as at
from schedule s
where s.id = any((select w.ids from wanted w)::int4[])
    and s.paused_at is null and s.next_at is not null and s.next_at <= now()
order by array_position((select w.ids from wanted w), s.id)
limit $1::int4
for update of s skip locked
