-- operation: waiting, due for its next step, or running on a server that is not heard -> running here
-- $1 int8: this server; $2 interval: how long an owner may be silent; $3 int4: how many at most
-- $4 uuid[]: those that this server works on now
-- $5 int4: how many of one principal it works on at most while others wait; $6 int4: and while none does
-- Principals take turns: the one with the fewest at work here comes first, and of these the one that has waited longest. Open
-- operations are few, and all of them are read. One that rests has no steps, but is cancelled.
-- A row that a step has locked, or that another server has taken meanwhile, is passed over. A time that is ahead is from before
-- the clock was set back.
with open as materialized (
    select o.id, o.namespace_id, o.principal, o.owner, o.heard_at, o.rests_for,
        coalesce(o.next_at, o.created_at) as waits_since, o.id = any($4::uuid[]) as here,
        o.id <> all($4::uuid[])
        and (o.owner = $1
            or (o.owner is null or o.heard_at not between now() - $2::interval and now() + $2::interval))
        and (o.cancel_requested_at is not null or (o.rests_for is null and coalesce(o.next_at <= now(), true))) as free
    from operation o
    where o.ended_at is null and o.namespace_id in (select n.id from namespace n where n.disabled_at is null)
),
turn as materialized (
    select o.id, o.owner, o.heard_at, o.rests_for, o.free, o.waits_since,
        (count(*) filter (where o.here) over (partition by o.namespace_id, o.principal))
        + row_number() over (partition by o.namespace_id, o.principal, o.free order by o.waits_since, o.id) as nth
    from open o
),
chosen as materialized (
    select t.id, t.owner, t.heard_at, t.rests_for from turn t
    where t.free
        and t.nth <= case
            when (select count(*) from (select distinct o.namespace_id, o.principal from open o where o.free) w) > 1
                then $5::int4 else $6::int4
        end
    order by t.nth, t.waits_since, t.id
    limit $3::int4
),
free as materialized (
    select o.id, o.owner, now() - o.next_at as late
    from chosen c
    join operation o on o.id = c.id
    where o.ended_at is null and o.owner is not distinct from c.owner and o.heard_at is not distinct from c.heard_at
        and o.rests_for is not distinct from c.rests_for
    order by o.id
    for update of o skip locked
)
update operation o
set owner = $1, heard_at = now(), state = 2
from free f
where o.id = f.id and o.id = any(array(select c.id from chosen c))
returning o.*, f.late, coalesce(f.owner <> $1, false) as taken_over
