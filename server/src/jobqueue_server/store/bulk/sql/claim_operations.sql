-- operation: waiting, or running on a server that is not heard -> running here
-- $1 int8: this server; $2 interval: how long an owner may be silent; $3 int4: how many at most
-- A row that a step has locked is passed over: its server lives. A time that is ahead is from before the clock was set back.
with free as materialized (
    select o.id from operation o
    where o.ended_at is null and (o.owner is null or o.heard_at not between now() - $2::interval and now() + $2::interval)
        and o.namespace_id in (select n.id from namespace n where n.disabled_at is null)
    order by o.id
    limit $3::int4
    for update of o skip locked
)
update operation o
set owner = $1, heard_at = now(), updated_at = now(), state = 2
where o.id = any(array(select f.id from free f))
returning o.*
